// Overview: layer x head heatmaps, and what rows say about layers and the whole model.

function scaleOf(metric, values) {
  const finite = values.filter(Number.isFinite);
  if (/recall/.test(metric)) { // to 1, from the least value rounded down to a tenth
    const low = Math.floor(10 * Math.min(1, ...finite) - 1e-9) / 10;
    return [Math.max(0, Math.min(low, 0.9)), 1];
  }
  if (finite.length === 0) return [0, 1];
  // Out to round numbers.
  const low = /density|share/.test(metric) ? 0 : Math.min(...finite), high = Math.max(...finite);
  if (!(high > low)) return [low, low + 1];
  const power = 10 ** Math.floor(Math.log10(high - low)), tidy = (value) => Number(value.toPrecision(10));
  const step = [0.1, 0.2, 0.5, 1].map((m) => m * power).find((s) => (high - low) / s <= 10) ?? power;
  return [tidy(Math.floor(low / step + 1e-9) * step), tidy(Math.ceil(high / step - 1e-9) * step)];
}

// A slider over a list of stops; it stands at `start`, which is one of them.
function slider(label, values, onchange, start) {
  const output = make("output", { class: "number" });
  const input = make("input", { type: "range", min: 0, max: values.length - 1, step: 1, "aria-label": label });
  const show = () => { output.textContent = number(values[input.value], 6); input.setAttribute("aria-valuetext", output.textContent); };
  const move = (value) => { input.value = values.indexOf(value); show(); };
  input.addEventListener("input", () => { show(); onchange(values[Number(input.value)]); });
  move(start);
  return { element: make("label", {}, label, input, output), move };
}

function overview() {
  const section = make("section", { "aria-label": "Overview" });
  if (shown.length === 0) return section;
  state.run ??= shown.some((s) => s.key === "curve") && !runs.length ? "curve" : "run0";
  const status = make("p", { class: "status", role: "status", "aria-live": "polite" });
  const grid = make("div", { class: "scroll" }), summary = make("p"), list = make("div");
  const legend = make("div", { class: "controls" });

  const show = make("select", { onchange: () => { state.run = show.value; fillMetrics(); draw(); } },
    ...shown.map((s) => make("option", { value: s.key }, s.name)));
  const metric = make("select", { onchange: () => { state.metric = metric.value; draw(); } });
  function fillMetrics() {
    const names = metricsOf(state.run);
    if (!names.includes(state.metric)) state.metric = names.includes("mass_recall") ? "mass_recall" : names[0];
    metric.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    metric.value = state.metric;
    knob.element.hidden = state.run !== "curve";
  }
  if (stops.length && !stops.includes(state.knob)) ({ knob: state.knob, why: state.why } = startOfAll());
  const knob = stops.length ? slider(knobName(curveSet), stops, (value) => {
    state.knob = value;
    state.why = "";
    draw();
  }, state.knob) : { element: make("span") };
  show.value = state.run;

  function draw() {
    const values = valuesOf(state.run, state.metric);
    const names = Array.from(values.keys());
    const layers = [...new Set(names.map((n) => Number(n.split(":")[0])))].sort((a, b) => a - b);
    const heads = [...new Set(names.map((n) => Number(n.split(":")[1])))].sort((a, b) => a - b);
    const all = Array.from(values.values());
    const [low, high] = scaleOf(state.metric, all);
    const cells = new Map();
    const tell = (name) => {
      const [layer, head] = name.split(":"), error = errorOf(state.run, name);
      let text = `layer ${layer}, head ${head}: `;
      if (error !== undefined) text += "failed: " + error;
      else text += metricsOf(state.run).slice(0, 8).map((m) => `${m} ${number(valuesOfHead(name, m))}`).join(", ");
      status.textContent = text;
    };
    const valuesOfHead = (name, m) => state.run === "curve" ? valuesOf("curve", m).get(name)
      : runs[Number(state.run.slice(3))].metrics[m]?.[runs[Number(state.run.slice(3))].index.get(name)];
    const move = (event, layer, head) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = cells.get(headName(layers[layers.indexOf(layer) + step[0]], heads[heads.indexOf(head) + step[1]]));
      if (!next) return;
      event.target.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    };
    const rows = layers.map((layer) => make("tr", {}, make("th", { scope: "row" }, String(layer)), ...heads.map((head) => {
      const name = headName(layer, head);
      if (!values.has(name)) return make("td");
      const value = values.get(name);
      const button = make("button", { type: "button", tabindex: cells.size === 0 ? 0 : -1, "data-head": name,
        class: Number.isNaN(value) ? "missing" : "", "aria-label": `layer ${layer} head ${head}: ${state.metric} ${Number.isNaN(value) ? "missing" : number(value)}`,
        onmouseenter: () => tell(name), onfocus: () => tell(name), onclick: () => openHead(name), onkeydown: (e) => move(e, layer, head) },
        Number.isNaN(value) ? "×" : /recall|density|share/.test(state.metric) ? (value >= 0.9995 ? "1.00" : value.toFixed(3).slice(1)) : number(value, 2));
      if (!Number.isNaN(value)) {
        const back = color((value - low) / (high - low));
        button.style.backgroundColor = back;
        button.style.color = ink(back);
      }
      cells.set(name, button);
      return make("td", {}, button);
    })));
    const every = heads.length > 20 ? 4 : 1;
    grid.replaceChildren(make("table", { class: "heat" + (heads.length > 20 ? " narrow" : ""), "aria-label": `${state.metric} by layer and head` },
      make("thead", {}, make("tr", {}, make("th", {}, "layer \\ head"), ...heads.map((h, n) => make("th", { scope: "col" }, n % every === 0 ? String(h) : "")))), make("tbody", {}, ...rows)));
    const bar = make("canvas", { class: "bar", width: 256, height: 12, role: "img", "aria-label": `colours from ${number(low)} to ${number(high)}` });
    const pen = bar.getContext("2d");
    for (let n = 0; n < 256; ++n) { pen.fillStyle = color(n / 255); pen.fillRect(n, 0, 1, 12); }
    const missing = all.filter(Number.isNaN).length;
    legend.replaceChildren(make("span", { class: "number" }, number(low)), bar, make("span", { class: "number" }, number(high)),
      missing ? make("span", { class: "bad" }, `× ${missing} heads without a value`) : "");
    const finite = all.filter(Number.isFinite);
    if (finite.length) {
      const worst = names.reduce((best, name) => {
        const v = values.get(name), b = values.get(best);
        return !Number.isFinite(v) ? best : !Number.isFinite(b) || (LOW_IS_GOOD.test(state.metric) ? v > b : v < b) ? name : best;
      }, names[0]);
      summary.textContent = `${finite.length} heads: mean ${state.metric} ${number(mean(finite))}, ${LOW_IS_GOOD.test(state.metric) ? "largest" : "least"} ${number(values.get(worst))} (layer ${worst.replace(":", " head ")})`;
      if (state.run === "curve") {
        summary.textContent += `; at ${knobName(curveSet)} ${number(state.knob, 6)}${state.why ? ` (${state.why})` : ""} all heads keep ${percent(mean(Array.from(valuesOf("curve", "mass_recall").values()).filter(Number.isFinite)))} of the attention with ${percent(mean(Array.from(valuesOf("curve", "density").values()).filter(Number.isFinite)))} of the pairs`;
      }
    } else summary.textContent = "No head has a value here.";
    const columns = metricsOf(state.run);
    const columnValues = columns.map((m) => valuesOf(state.run, m));
    list.replaceChildren(make("details", {}, make("summary", {}, "All heads as a table"), table(["layer", "head", ...columns, "error"],
      names.map((name) => [...name.split(":").map(Number), ...columnValues.map((v) => v.get(name)), errorOf(state.run, name) ?? null]))));
  }
  section.append(make("div", { class: "controls" }, make("label", {}, "show", show), make("label", {}, "metric", metric), knob.element),
    summary, legend, grid, status, make("p", { class: "soft" }, "Point at a head for its numbers; click or press Enter to open it; arrow keys move."), list);
  fillMetrics();
  draw();
  for (const t of data.tables.length ? [dataTables()] : []) section.append(t);
  return section;
}

// Rows about a layer or the whole model.
function dataTables() {
  const groups = new Map();
  for (const row of data.tables) {
    const key = `${row.kind}, ${row.scope === "all" ? "whole model" : row.scope}`;
    groups.set(key, [...(groups.get(key) || []), row]);
  }
  const flat = (row) => {
    const out = {};
    for (const [name, value] of Object.entries(row)) {
      if (["kind", "scope", "env", "geometry", "status"].includes(name)) continue;
      if (value !== null && typeof value === "object" && !Array.isArray(value)) {
        if (name === "params") out.params = paramText(value);
        else for (const [key, inner] of Object.entries(value)) if (typeof inner !== "object") out[`${name}.${key}`] = fromRow(inner);
      } else if (typeof value !== "object") out[name] = fromRow(value);
    }
    return out;
  };
  return make("div", {}, ...[...groups].map(([title, rows]) => {
    const flats = rows.map(flat), columns = [...new Set(flats.flatMap(Object.keys))];
    return make("div", {}, make("h2", {}, title), table(columns, flats.map((row) => columns.map((c) => row[c] ?? null))));
  }));
}
