"use strict";
// The report's page: everything it shows comes from the JSON in this file. Views read a shared state (which run,
// which metric, which head, which knob value) and are drawn anew when it changes.

const data = JSON.parse(document.getElementById("data").textContent);

// ---- small helpers ----------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
function make(tag, attributes = {}, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.setAttribute("class", value);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null));
  return node;
}
function bytes(text) { return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)); }
function unpack(Type, text) { return text ? new Type(bytes(text).buffer) : new Type(0); }
const color = (x) => "#" + data.palette.substr(6 * Math.round(255 * Math.min(1, Math.max(0, x))), 6);
function ink(background) {
  const value = parseInt(background.slice(1), 16);
  return 0.299 * (value >> 16) + 0.587 * (value >> 8 & 255) + 0.114 * (value & 255) > 140 ? "#000" : "#fff";
}
function number(value, digits = 4) {
  if (value === undefined || value === null || Number.isNaN(value)) return "–";
  if (value === Infinity) return "inf";
  if (value === -Infinity) return "-inf";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e7) return String(value);
  return size >= 1e5 || size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(Math.max(digits, 4))));
}
const percent = (value) => Number.isNaN(value) ? "–" : (100 * value).toFixed(value > 0.9995 || value < 0.1 ? 2 : 1) + " %";
const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;
const fromRow = (value) => value === "inf" ? Infinity : value === "-inf" ? -Infinity : value;
const command = (argv) => (argv || []).map((word) => /^[\w@%+=:,./-]+$/.test(word) ? word : "'" + word.replaceAll("'", "'\\''") + "'").join(" ");
const SERIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#999933"]; // Okabe and Ito

// ---- the data, unpacked -----------------------------------------------------------------------------------------

class Curve { // a right-continuous step function of the knob
  constructor(packed) {
    this.knob = unpack(Float32Array, packed.knob);
    this.density = Float32Array.from(unpack(Uint16Array, packed.density), (v) => v / 65535);
    this.recall = Float32Array.from(unpack(Uint16Array, packed.mass_recall), (v) => v / 65535);
    this.descending = Boolean(packed.descending);
  }
  at(knob) { // index of the last point at or before it
    let low = 0, high = this.knob.length;
    while (high - low > 1) {
      const middle = low + high >> 1;
      if (this.descending ? this.knob[middle] >= knob : this.knob[middle] <= knob) low = middle; else high = middle;
    }
    return low;
  }
}
const headName = (layer, head) => layer + ":" + head;
const paramText = (params) => Object.entries(params || {}).map(([key, value]) => `${key}=${value}`).join(" ");

const runs = data.runs.map((run) => {
  const places = unpack(Int32Array, run.places), index = new Map();
  for (let n = 0; n < places.length / 2; ++n) index.set(headName(places[2 * n], places[2 * n + 1]), n);
  const metrics = Object.fromEntries(Object.entries(run.metrics).map(([name, text]) => [name, unpack(Float32Array, text)]));
  const target = run.target ? ` for ${run.target.metric} ${run.target.value}` : "";
  return { ...run, index, metrics, name: `${run.method}${target}, ${paramText(run.params)} (${run.kind})`, errors: run.errors || {} };
});
const views = data.views[0];
const viewOf = new Map((views ? views.heads : []).map((head) => [headName(head.layer, head.head), head]));
// Exact curves of all heads of one dump, method and parameters.
const curveSets = data.curves.map((set) => ({
  ...set, name: `${set.method} ${paramText(set.params)}`,
  heads: new Map(set.heads.map((head) => [headName(head.layer, head.head), new Curve(head)])),
}));
if (views && views.heads.some((head) => head.curve)) {
  const same = (set) => set.dump === views.path && set.method === views.method && paramText(set.params) === paramText(views.params);
  const heads = new Map(views.heads.filter((head) => head.curve).map((head) => [headName(head.layer, head.head), new Curve(head.curve)]));
  const known = curveSets.find(same);
  if (known) { known.knob = views.knob; for (const [name, curve] of heads) known.heads.set(name, curve); }
  else curveSets.push({ dump: views.path, model: views.model, method: views.method, knob: views.knob, params: views.params,
                        name: `${views.method} ${paramText(views.params)}`, heads });
}
const curveSet = curveSets.find((set) => views && set.dump === views.path && set.method === views.method) || curveSets[0];
const knobName = (set) => set && set.knob || "knob";

function knobGrid(set) { // what the slider stops at: points of the curves, evenly spread over their number
  const all = [];
  for (const curve of set.heads.values()) for (const knob of curve.knob) if (Number.isFinite(knob)) all.push(knob);
  all.sort((a, b) => set.heads.values().next().value.descending ? b - a : a - b);
  const stops = [set.heads.values().next().value.knob[0]];
  const count = Math.min(400, all.length);
  for (let n = 0; n < count; ++n) stops.push(all[Math.floor(n * (all.length - 1) / Math.max(1, count - 1))]);
  return stops.filter((value, n) => n === 0 || value !== stops[n - 1]);
}
const stops = curveSet ? knobGrid(curveSet) : [];

const state = { run: null, metric: "mass_recall", knob: null, head: null, sort: 0, overlay: true };
const shown = []; // what the "show" control offers
if (curveSet) shown.push({ key: "curve", name: `${curveSet.name}: at the slider` });
runs.forEach((run, n) => shown.push({ key: "run" + n, name: run.name }));
const LOW_IS_GOOD = /density|out_|sink/;

// Value of a metric for every head under what is shown: Map name -> number (NaN: failed or not there).
function valuesOf(key, metric) {
  const values = new Map();
  if (key === "curve") {
    for (const [name, curve] of curveSet.heads) {
      const at = curve.at(state.knob);
      values.set(name, metric === "density" ? curve.density[at] : metric === "sink_share" ? viewOf.get(name)?.sink_share ?? NaN : curve.recall[at]);
    }
    for (const [name, view] of viewOf) if (view.error) values.set(name, NaN);
  } else {
    const run = runs[Number(key.slice(3))];
    for (const [name, n] of run.index) values.set(name, run.metrics[metric]?.[n] ?? NaN);
  }
  return values;
}
function metricsOf(key) {
  if (key !== "curve") return Object.keys(runs[Number(key.slice(3))].metrics);
  return views && views.heads.some((head) => head.sink_share !== undefined) ? ["mass_recall", "density", "sink_share"] : ["mass_recall", "density"];
}
function errorOf(key, name) {
  if (key !== "curve") return runs[Number(key.slice(3))].errors[name];
  return viewOf.get(name)?.error;
}

// ---- tables ------------------------------------------------------------------------------------------------------

// rows: arrays of numbers, strings or null. Click on a heading sorts; the button copies everything as CSV.
function table(columns, rows, options = {}) {
  const body = make("tbody");
  let order = { column: -1, up: true };
  const cell = (value) => value instanceof Node ? make("td", { class: "text" }, value.cloneNode(true))
    : typeof value === "number" ? make("td", {}, number(value)) : make("td", { class: "text", title: value ?? "" }, value ?? "–");
  function fill() {
    const sorted = rows.slice();
    if (order.column >= 0) {
      sorted.sort((a, b) => {
        const x = a[order.column], y = b[order.column];
        const empty = (v) => v === null || v === undefined || Number.isNaN(v);
        if (empty(x) || empty(y)) return empty(x) - empty(y);
        return (x < y ? -1 : x > y ? 1 : 0) * (order.up ? 1 : -1);
      });
    }
    body.replaceChildren(...sorted.map((row) => make("tr", {}, ...row.map(cell))));
  }
  const headings = columns.map((title, n) => make("th", { scope: "col", "aria-sort": "none", class: rows.some((r) => typeof r[n] === "number") ? "" : "text" },
    make("button", { type: "button", onclick: () => {
      order = { column: n, up: order.column === n ? !order.up : true };
      headings.forEach((h, m) => h.setAttribute("aria-sort", m === n ? (order.up ? "ascending" : "descending") : "none"));
      fill();
    } }, title)));
  fill();
  const quote = (v) => /[",\n]/.test(v) ? '"' + v.replaceAll('"', '""') + '"' : v;
  const csv = () => [columns, ...rows].map((row) => row.map((v) => v === null || v === undefined ? "" : quote(v instanceof Node ? v.textContent : String(v))).join(",")).join("\n") + "\n";
  const copy = make("button", { type: "button", onclick: async () => {
    await navigator.clipboard.writeText(csv());
    copy.textContent = "copied";
    setTimeout(() => { copy.textContent = "copy as CSV"; }, 1500);
  } }, "copy as CSV");
  const grid = make("table", { class: "data" }, options.caption ? make("caption", {}, options.caption) : null,
    make("thead", {}, make("tr", {}, ...headings)), body);
  return make("div", {}, make("div", { class: "scroll " + (rows.length > 20 ? "tall" : ""), tabindex: rows.length > 20 ? "0" : undefined }, grid), make("div", { class: "controls" }, copy));
}

// ---- charts ------------------------------------------------------------------------------------------------------

// series: {name, x: [], y: [], low, high, step, dots, color}. One function draws every line chart.
function chart(series, options) {
  const width = options.width || 520, height = options.height || 300, left = 56, right = 12, top = 12, bottom = 40;
  const log = { x: options.logX ? Math.log10 : (v) => v, y: options.logY ? Math.log10 : (v) => v };
  const all = (name) => series.flatMap((s) => Array.from(s[name])).filter((v) => Number.isFinite(log[name](v)));
  const range = (name) => {
    const values = options[name + "Range"] || (all(name).length ? [Math.min(...all(name)), Math.max(...all(name))] : [0, 1]);
    const low = log[name](values[0]), high = log[name](values[1]);
    return high > low ? [low, high] : [low - 0.5, low + 0.5];
  };
  const [x0, x1] = range("x"), [y0, y1] = range("y");
  const px = (v) => left + (log.x(v) - x0) / (x1 - x0) * (width - left - right);
  const py = (v) => height - bottom - (log.y(v) - y0) / (y1 - y0) * (height - top - bottom);
  const root = make("svg:svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": options.title, class: "chart" });
  root.append(make("svg:title", {}, options.title));
  const ticks = (low, high, isLog, values) => {
    if (values) return values;
    if (isLog) {
      const list = [];
      for (let e = Math.floor(low); e <= Math.ceil(high); ++e) for (const m of high - low > 3 ? [1] : [1, 2, 5]) {
        const v = m * 10 ** e;
        if (Math.log10(v) >= low - 1e-9 && Math.log10(v) <= high + 1e-9) list.push(v);
      }
      return list;
    }
    const span = (high - low) / 5, power = 10 ** Math.floor(Math.log10(span));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= span) || power;
    const list = [];
    for (let v = Math.ceil(low / step) * step; v <= high + 1e-9; v += step) list.push(Number(v.toPrecision(10)));
    return list;
  };
  const format = (name) => options[name + "Format"] || ((v) => number(v, 3));
  for (const v of ticks(x0, x1, options.logX, options.xTicks)) {
    root.append(make("svg:path", { class: "axis", d: `M${px(v)} ${top}V${height - bottom}` }),
      make("svg:text", { x: px(v), y: height - bottom + 15, "text-anchor": "middle" }, format("x")(v)));
  }
  for (const v of ticks(y0, y1, options.logY)) {
    root.append(make("svg:path", { class: "axis", d: `M${left} ${py(v)}H${width - right}` }),
      make("svg:text", { x: left - 6, y: py(v) + 4, "text-anchor": "end" }, format("y")(v)));
  }
  root.append(make("svg:text", { x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, options.xTitle),
    make("svg:text", { x: 12, y: height / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${height / 2})` }, options.yTitle));
  series.forEach((s, n) => {
    const stroke = s.color || SERIES[n % SERIES.length];
    let path = "";
    for (let i = 0; i < s.x.length; ++i) {
      if (!Number.isFinite(log.x(s.x[i])) || !Number.isFinite(log.y(s.y[i]))) continue;
      const x = px(s.x[i]).toFixed(1), y = py(s.y[i]).toFixed(1);
      path += path === "" ? `M${x} ${y}` : s.step ? `H${x}V${y}` : `L${x} ${y}`;
      if (s.dots) root.append(make("svg:circle", { cx: x, cy: y, r: 4, fill: stroke }, make("svg:title", {}, `${s.name}: ${format("x")(s.x[i])}, ${format("y")(s.y[i])}`)));
      if (s.low) root.append(make("svg:path", { d: `M${x} ${py(s.low[i])}V${py(s.high[i])}`, stroke, "stroke-width": 2 }));
    }
    if (!s.alone) root.append(make("svg:path", { class: "line", d: path, stroke }));
  });
  for (const x of options.marks || []) if (Number.isFinite(log.x(x))) root.append(make("svg:path", { class: "mark", d: `M${px(x)} ${top}V${height - bottom}` }));
  const legend = series.length > 1 ? make("p", { class: "soft" }, ...series.flatMap((s, n) => {
    const swatch = make("span", {}, "■ ");
    swatch.style.color = s.color || SERIES[n % SERIES.length];
    return [swatch, s.name + "   "];
  })) : null;
  return make("figure", {}, make("div", { class: "scroll" }, root), legend, options.caption ? make("figcaption", {}, options.caption) : null);
}

// ---- overview ----------------------------------------------------------------------------------------------------

function scaleOf(metric, values) {
  const finite = values.filter(Number.isFinite);
  if (/recall/.test(metric)) { // to 1, from the least value rounded down to a tenth
    const low = Math.floor(10 * Math.min(1, ...finite) - 1e-9) / 10;
    return [Math.max(0, Math.min(low, 0.9)), 1];
  }
  if (finite.length === 0) return [0, 1];
  const low = Math.min(...finite), high = Math.max(...finite);
  return [/density|share/.test(metric) ? 0 : low, high > low ? high : low + 1];
}

function slider(label, values, onchange, start) {
  const output = make("output", { class: "number" });
  const input = make("input", { type: "range", min: 0, max: values.length - 1, step: 1, "aria-label": label });
  const show = () => { output.textContent = number(values[input.value], 6); input.setAttribute("aria-valuetext", output.textContent); };
  input.addEventListener("input", () => { show(); onchange(values[Number(input.value)]); });
  let nearest = 0;
  values.forEach((v, n) => { if (Math.abs(v - start) < Math.abs(values[nearest] - start) || !Number.isFinite(values[nearest])) nearest = n; });
  input.value = nearest;
  show();
  return { element: make("label", {}, label, input, output), value: values[nearest] };
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
  const knob = stops.length ? slider(knobName(curveSet), stops, (value) => {
    state.knob = value;
    draw();
  }, state.knob ?? stops[Math.floor(stops.length / 2)]) : { element: make("span") };
  if (stops.length) state.knob = knob.value;
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
        summary.textContent += `; at ${knobName(curveSet)} ${number(state.knob, 6)} all heads keep ${percent(mean(Array.from(valuesOf("curve", "mass_recall").values()).filter(Number.isFinite)))} of the attention with ${percent(mean(Array.from(valuesOf("curve", "density").values()).filter(Number.isFinite)))} of the pairs`;
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

// ---- one head ----------------------------------------------------------------------------------------------------

function openHead(name) {
  state.head = name;
  select("head");
}

function headView() {
  const section = make("section", { "aria-label": "Head" });
  const names = [...new Set([...viewOf.keys(), ...(curveSet ? curveSet.heads.keys() : []), ...runs.flatMap((run) => [...run.index.keys()])])]
    .sort((a, b) => a.split(":")[0] - b.split(":")[0] || a.split(":")[1] - b.split(":")[1]);
  if (!names.includes(state.head)) state.head = names[0];
  const name = state.head, [layer, head] = name.split(":"), view = viewOf.get(name), curve = curveSet?.heads.get(name);
  const choose = make("select", { onchange: () => openHead(choose.value) }, ...names.map((n) => make("option", { value: n }, `layer ${n.replace(":", " head ")}`)));
  choose.value = name;
  const at = names.indexOf(name);
  const previous = make("button", { type: "button", disabled: at === 0, onclick: () => openHead(names[at - 1]) }, "← previous");
  const next = make("button", { type: "button", disabled: at === names.length - 1, onclick: () => openHead(names[at + 1]) }, "next →");
  section.append(make("div", { class: "controls" }, make("label", {}, "head", choose), previous, next));

  const facts = make("div");
  for (const run of runs) {
    if (!run.index.has(name)) continue;
    const n = run.index.get(name), error = run.errors[name];
    facts.append(make("p", {}, make("strong", {}, run.name + ": "), error !== undefined ? make("span", { class: "bad" }, "failed: " + error)
      : Object.entries(run.metrics).map(([m, values]) => `${m} ${number(values[n])}`).join(" · ")));
  }
  section.append(facts);
  if (view?.error) section.append(make("p", { class: "bad" }, "This head has no map: " + view.error));

  const live = make("div"); // what follows the slider
  let knobValue = state.knob;
  if (curve) {
    const control = slider(knobName(curveSet), Array.from(curve.knob), (value) => { knobValue = value; state.knob = value; drawLive(); }, state.knob ?? curve.knob[curve.knob.length >> 1]);
    knobValue = control.value;
    section.append(make("div", { class: "controls" }, control.element));
  }
  section.append(live);
  const map = view && !view.error ? attentionMap(view) : null;
  const right = make("div");
  section.append(make("div", { class: "pair" }, map ? map.element : "", right));

  function drawLive() {
    const i = curve ? curve.at(knobValue) : -1;
    const levels = view && !view.error ? unpack(Float32Array, view.knob) : [];
    const replayed = view && !view.error ? unpack(Float32Array, view.mass_recall) : [];
    let level = levels.length ? 0 : -1; // the replay whose recall is nearest to the slider's
    replayed.forEach((recall, n) => { if (curve && Math.abs(recall - curve.recall[i]) < Math.abs(replayed[level] - curve.recall[i])) level = n; });
    live.replaceChildren(curve ? make("p", { id: "at-slider", "data-knob": curve.knob[i], "data-density": curve.density[i], "data-recall": curve.recall[i] },
      `At ${knobName(curveSet)} ${number(curve.knob[i], 6)} this head keeps ${percent(curve.recall[i])} of its attention with ${percent(curve.density[i])} of the pairs.`) : "");
    right.replaceChildren();
    if (curve) {
      right.append(chart([{ name: "mass_recall", x: curve.density, y: curve.recall, step: true }],
        { title: "Mass recall against density", xTitle: "density", yTitle: "mass recall", yRange: [Math.min(curve.recall[0], 0.9), 1], marks: [curve.density[i]], height: 240 }));
    }
    if (view && !view.error && level >= 0) {
      const tiles = profileTiles(), all = unpack(Uint8Array, view.profile).slice(level * tiles, (level + 1) * tiles);
      right.append(chart([{ name: "row recall", x: Array.from(all, (_, t) => views.q_start + (t + 0.5) * views.tile), y: Array.from(all, (v) => v / 255) }],
        { title: "Mass recall of the rows along the text", xTitle: "query position", yTitle: "mass recall of rows", yRange: [Math.min(0.5, ...Array.from(all, (v) => v / 255)), 1], height: 200,
          caption: `Mean over ${views.tile} rows, at the nearest replay: ${views.knob || "its plan"} ${number(levels[level], 5)}: density ${percent(unpack(Float32Array, view.density)[level])}, recall ${percent(unpack(Float32Array, view.mass_recall)[level])}.` }));
    }
    if (map) map.draw(level);
  }
  drawLive();
  if (view?.stripes?.length) section.append(make("h2", {}, "Stripes"), make("p", { class: "soft" },
    `Keys that ${views.method} keeps as single columns at ${views.knob} ${number(unpack(Float32Array, view.knob)[view.stripe_level], 5)}, those of most attention first.`),
    table(["key", "token", "share of attention", "in lists"], view.stripes.map(([key, mass, lists, text]) => [key, text ? make("bdi", { class: "token" }, text) : null, mass, lists])));
  else if (view && !view.error) section.append(make("p", { class: "soft" }, "No stripes: what is kept here are blocks."));
  return section;
}

function profileTiles() { return Math.ceil(views.q_len / views.tile); }

// The map of attention mass: query tiles down, key blocks across; what the plan drops is dimmed.
function attentionMap(view) {
  const tiles = profileTiles(), blocks = Math.ceil(views.kv_len / views.tile);
  const mass = bytes(view.mass), level = bytes(view.level), start = [0];
  const visible = (row) => Math.ceil(Math.min(views.kv_len, views.q_start + Math.min(views.q_len, (row + 1) * views.tile)) / views.tile);
  for (let row = 0; row < tiles; ++row) start.push(start[row] + visible(row));
  const side = 512, canvas = make("canvas", { width: side, height: Math.round(side * tiles / blocks), tabindex: 0, role: "img",
    "aria-label": "Attention mass by query tile and key block; plus and minus zoom, arrow keys move" });
  const image = new OffscreenCanvas(blocks, tiles), text = make("p", { class: "status number" }, "Point at the map for numbers.");
  let zoom = 1, left = 0, top = 0, current = 0;
  const dim = make("input", { type: "checkbox", onchange: () => { state.overlay = dim.checked; draw(current); } });
  dim.checked = state.overlay;
  function paint() {
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, left, top, blocks / zoom, tiles / zoom, 0, 0, canvas.width, canvas.height);
  }
  function draw(at) {
    current = at;
    const pen = image.getContext("2d"), pixels = pen.createImageData(blocks, tiles);
    for (let row = 0; row < tiles; ++row) {
      for (let block = 0; block < start[row + 1] - start[row]; ++block) {
        const cell = start[row] + block, p = 4 * (row * blocks + block), v = mass[cell] === 0 ? 0 : (mass[cell] - 1) / 254;
        const rgb = parseInt(data.palette.substr(6 * Math.round(255 * v), 6), 16);
        const dropped = dim.checked && level[cell] > at;
        const fade = (c) => dropped ? Math.round(0.25 * c + 0.75 * 200) : c;
        pixels.data[p] = fade(rgb >> 16); pixels.data[p + 1] = fade(rgb >> 8 & 255); pixels.data[p + 2] = fade(rgb & 255); pixels.data[p + 3] = 255;
      }
    }
    pen.putImageData(pixels, 0, 0);
    paint();
  }
  function look(x, y, factor) { // zooms about a point of the canvas, in cells
    const cx = left + x * blocks / zoom, cy = top + y * tiles / zoom;
    zoom = Math.min(Math.max(1, zoom * factor), Math.max(1, blocks / 8));
    left = cx - x * blocks / zoom;
    top = cy - y * tiles / zoom;
    clamp();
  }
  function clamp() {
    left = Math.min(Math.max(0, left), blocks - blocks / zoom);
    top = Math.min(Math.max(0, top), tiles - tiles / zoom);
    paint();
  }
  const place = (event) => { const box = canvas.getBoundingClientRect(); return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]; };
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); look(...place(event), event.deltaY < 0 ? 1.25 : 0.8); }, { passive: false });
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => { drag = place(event); canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", () => { drag = null; });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    if (drag && zoom > 1) { left -= (x - drag[0]) * blocks / zoom; top -= (y - drag[1]) * tiles / zoom; drag = [x, y]; clamp(); }
    const row = Math.min(tiles - 1, Math.max(0, Math.floor(top + y * tiles / zoom))), block = Math.max(0, Math.floor(left + x * blocks / zoom));
    const cell = start[row] + block, inside = block < start[row + 1] - start[row];
    const share = inside && mass[cell] > 0 ? 10 ** (((mass[cell] - 1) / 254 - 1) * views.decades) : 0;
    text.textContent = `queries ${views.q_start + row * views.tile}–${views.q_start + Math.min(views.q_len, (row + 1) * views.tile) - 1}, keys ${block * views.tile}–${Math.min(views.kv_len, (block + 1) * views.tile) - 1}: ` +
      (inside ? `${percent(share)} of each row's attention; ${level[cell] <= current ? "kept" : "dropped"}` : "after the queries");
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "+" || event.key === "=") look(0.5, 0.5, 1.5);
    else if (event.key === "-") look(0.5, 0.5, 1 / 1.5);
    else if (step) { left += step[0] * blocks / zoom / 8; top += step[1] * tiles / zoom / 8; clamp(); }
    else return;
    event.preventDefault();
  });
  const button = (label, factor) => make("button", { type: "button", "aria-label": factor > 1 ? "zoom in" : "zoom out", onclick: () => look(0.5, 0.5, factor) }, label);
  return { draw, element: make("figure", {}, canvas, text, make("div", { class: "controls" }, make("label", {}, dim, "dim what the plan drops"), button("+", 1.5), button("−", 1 / 1.5)),
    make("figcaption", {}, `Queries down, keys across, ${views.tile} × ${views.tile} a cell; colour: share of a row's attention, 1e-${views.decades} (dark) to 1 (bright), on a log scale.`)) };
}

// ---- methods side by side ------------------------------------------------------------------------------------------

// Mean density and recall over heads under one shared knob.
function globalCurve(set) {
  const grid = knobGrid(set), heads = [...set.heads.values()], density = [], recall = [];
  for (const knob of grid) {
    density.push(mean(heads.map((c) => c.density[c.at(knob)])));
    recall.push(mean(heads.map((c) => c.recall[c.at(knob)])));
  }
  return { grid, density, recall };
}
function compareView() {
  const section = make("section", { "aria-label": "Compare" });
  const series = [], points = new Map();
  for (const set of curveSets) {
    const g = globalCurve(set);
    series.push({ name: set.name + (curveSets.some((s) => s.dump !== set.dump) ? ` on ${set.dump}` : ""), x: g.density, y: g.recall, step: true });
  }
  for (const run of runs) {
    const ok = (m) => Array.from(run.metrics[m] || []).filter(Number.isFinite);
    if (!ok("density").length || !ok("mass_recall").length) continue;
    const list = points.get(run.method) || points.set(run.method, { name: `${run.method}, rows`, x: [], y: [], dots: true, alone: true }).get(run.method);
    list.x.push(mean(ok("density")));
    list.y.push(mean(ok("mass_recall")));
  }
  series.push(...points.values());
  if (series.length) {
    section.append(make("h2", {}, "Recall against density, means over heads"), chart(series, { title: "Mass recall against density", xTitle: "density (mean over heads)", yTitle: "mass recall (mean over heads)", width: 760, height: 420,
      xRange: [0, 1], yRange: [Math.max(0, Math.min(0.5, ...series.flatMap((s) => Array.from(s.y)))), 1] }),
      make("p", { class: "soft" }, "Lines: every knob value, one for all heads, exact. Dots: rows that were replayed or searched."));
  }
  if (curveSets.length) {
    const targets = [0.9, 0.95, 0.99], rows = [];
    for (const set of curveSets) {
      const g = globalCurve(set), row = [set.name, set.dump];
      for (const target of targets) {
        const at = g.recall.findIndex((r) => r >= target);
        const own = [...set.heads.values()].map((c) => { const n = c.recall.findIndex((r) => r >= target); return n < 0 ? c.density.at(-1) : c.density[n]; });
        row.push(at < 0 ? NaN : g.density[at], mean(own));
      }
      rows.push(row);
    }
    section.append(make("h2", {}, "Density needed for a mean recall"), table(["method", "dump", ...targets.flatMap((t) => [`${t}, one knob`, `${t}, knob per head`])], rows));
  }
  if (runs.length) {
    const names = ["density", "work_density", "mass_recall", "mass_recall_min", "out_rel_l2"];
    section.append(make("h2", {}, "Runs, means over heads"), table(["method", "dump", "parameters", "kind", ...names.map((n) => n === "mass_recall_min" ? "least row recall" : n), "worst head's recall", "failed heads"],
      runs.map((run) => [run.method, run.dump, paramText(run.params), run.kind, ...names.map((n) => {
        const values = Array.from(run.metrics[n] || []).filter(Number.isFinite);
        return values.length ? (n === "mass_recall_min" ? Math.min(...values) : mean(values)) : null;
      }), run.metrics.mass_recall ? Math.min(...Array.from(run.metrics.mass_recall).filter(Number.isFinite)) : null, Object.keys(run.errors).length])));
  }
  return section;
}

// ---- timings -------------------------------------------------------------------------------------------------------

function benchView() {
  const section = make("section", { "aria-label": "Bench" });
  const ok = data.bench.filter((row) => row.status === "ok" && row.stats);
  const label = (row) => `${row.method}${row.params && row.params.step !== undefined ? " step " + row.params.step : ""}${row.target ? ` at ${row.target.metric} ${row.target.value}` : ""}`;
  const shape = (row) => `${row.geometry.q_heads}/${row.geometry.kv_heads} heads, dimension ${row.geometry.head_dim}, ${row.geometry.dtype}, ${row.dump?.path || row.dump?.model || ""}${row.cache ? ", " + row.cache + " cache" : ""}`;
  for (const group of [...new Set(ok.map(shape))]) {
    const rows = ok.filter((row) => shape(row) === group), series = new Map();
    for (const row of rows) {
      const s = series.get(label(row)) || series.set(label(row), { name: label(row), x: [], y: [], low: [], high: [], dots: true, rows: [] }).get(label(row));
      s.rows.push(row);
    }
    for (const s of series.values()) {
      s.rows.sort((a, b) => a.geometry.kv_len - b.geometry.kv_len);
      for (const row of s.rows) {
        s.x.push(row.geometry.kv_len);
        s.y.push(row.stats.median_ns / 1e6);
        s.low.push(row.stats.ci95_ns[0] / 1e6);
        s.high.push(row.stats.ci95_ns[1] / 1e6);
      }
    }
    const lengths = [...new Set(rows.map((row) => row.geometry.kv_len))].sort((a, b) => a - b);
    section.append(make("h2", {}, group), chart([...series.values()], { title: "Time against length", xTitle: "tokens", yTitle: "median time, ms", logX: true, logY: true, xTicks: lengths, xFormat: (v) => v % 1024 ? String(v) : v / 1024 + "k", width: 760, height: 380,
      caption: "Planning included; bars: 95 % interval of the median." }));
    const split = rows.filter((row) => row.stages_ns && Object.keys(row.stages_ns).length > 1);
    if (split.length) section.append(make("h2", {}, "Where the time goes"), splitBars(split, label));
    const baselines = [...new Set(rows.flatMap((row) => Object.keys(row).filter((k) => k.startsWith("speedup_"))))];
    section.append(table(["method", "tokens", "median ms", "low", "high", "density", "useful TFLOP/s", ...baselines.map((b) => "× " + b.slice(8)), "samples"],
      rows.map((row) => [label(row), row.geometry.kv_len, row.stats.median_ns / 1e6, row.stats.ci95_ns[0] / 1e6, row.stats.ci95_ns[1] / 1e6, row.density ?? null, row.tflops_useful ?? null, ...baselines.map((b) => row[b] ?? null), row.stats.n])));
  }
  const bad = data.bench.filter((row) => row.status !== "ok");
  if (bad.length) section.append(make("h2", {}, "Not timed"), table(["method", "tokens", "status", "reason"], bad.map((row) => [row.method, row.geometry?.kv_len ?? null, row.status, row.error ?? ""])));
  const machines = new Map(ok.map((row) => [JSON.stringify([row.device, row.env?.driver, row.env?.cuda_runtime, row.path]), row]));
  section.append(make("h2", {}, "Machine"), table(["device", "path", "driver", "CUDA", "SM clock, MHz", "power, W", "temperature, °C"],
    [...machines.values()].map((row) => [row.device ?? null, row.path ?? null, row.env?.driver ?? null, row.env?.cuda_runtime ?? null, row.env?.sm_clock_mhz ?? null, row.env?.power_w ?? null, row.env?.temperature_c ?? null])));
  return section;
}
function splitBars(rows, label) {
  const stages = [...new Set(rows.flatMap((row) => Object.keys(row.stages_ns)))], height = 24 * rows.length + 8, width = 760, left = 260;
  const root = make("svg:svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "Share of each stage" });
  rows.forEach((row, n) => {
    const total = Object.values(row.stages_ns).reduce((a, b) => a + b, 0);
    root.append(make("svg:text", { x: left - 8, y: 24 * n + 18, "text-anchor": "end" }, `${label(row)}, ${row.geometry.kv_len / 1024}k`));
    let x = left;
    stages.forEach((stage, s) => {
      const w = (row.stages_ns[stage] || 0) / total * (width - left - 8);
      root.append(make("svg:rect", { x, y: 24 * n + 5, width: w, height: 18, fill: SERIES[s % SERIES.length] }, make("svg:title", {}, `${stage} ${number((row.stages_ns[stage] || 0) / 1e6)} ms`)));
      x += w;
    });
  });
  return make("figure", {}, make("div", { class: "scroll" }, root), make("p", { class: "soft" }, ...stages.flatMap((stage, s) => {
    const swatch = make("span", {}, "■ ");
    swatch.style.color = SERIES[s % SERIES.length];
    return [swatch, stage + "   "];
  })));
}

// ---- where it comes from -------------------------------------------------------------------------------------------

function aboutView() {
  const section = make("section", { "aria-label": "About" }, make("h2", {}, "This page"), make("p", {}, `Made ${data.made.t} by version ${data.made.version}, commit ${data.made.git_sha}, with`), make("pre", {}, command(data.made.argv)));
  if (data.sources.length) section.append(make("h2", {}, "Its rows"));
  for (const source of data.sources) {
    const env = Object.entries(source.env || {}).map(([k, v]) => `${k} ${v}`).join(", ");
    section.append(make("pre", {}, command(source.argv)), make("p", { class: "soft" }, `${source.rows} rows, ${source.t ?? ""}, version ${source.tool?.version ?? "?"}, commit ${source.tool?.git_sha ?? "?"}${source.tool?.dirty ? " (modified)" : ""}, ${source.device ?? ""}; ${env}`));
  }
  section.append(make("h2", {}, "Words"), make("dl", {}, ...[
    ["density", "pairs of query and key that are kept, of all causal pairs"],
    ["work_density", "pairs that are computed, whole tiles, of all causal pairs"],
    ["mass_recall", "share of the softmax mass that the kept keys hold, mean over query rows"],
    ["output_recall", "share of output elements within the tolerance of dense attention"],
    ["out_rel_l2", "relative L2 distance of the output from dense attention"],
    ["sink_share", "share of the attention that the first key holds"],
    ["stripe", "a single key that a group of query rows keeps"]].flatMap(([term, text]) => [make("dt", {}, term), make("dd", {}, text)])));
  return section;
}

// ---- the page ------------------------------------------------------------------------------------------------------

const pages = [];
if (shown.length || data.tables.length) pages.push(["overview", "Overview", shown.length ? overview : () => make("section", {}, dataTables())]);
if (shown.length) pages.push(["head", "Head", headView], ["compare", "Compare", compareView]);
if (data.bench.length) pages.push(["bench", "Bench", benchView]);
pages.push(["about", "About", aboutView]);
const main = make("main", { tabindex: -1 });
const tabs = pages.map(([key, title]) => make("button", { type: "button", role: "tab", id: "tab-" + key, "aria-selected": "false", onclick: () => select(key) }, title));
function select(key) {
  location.hash = key === "head" && state.head ? `head/${state.head}` : key;
  show();
}
function show() {
  const [key, head] = decodeURIComponent(location.hash.slice(1)).split("/");
  if (key === "head" && head) state.head = head;
  const page = pages.find((p) => p[0] === key) || pages[0];
  tabs.forEach((tab, n) => { tab.setAttribute("aria-selected", String(pages[n] === page)); tab.tabIndex = pages[n] === page ? 0 : -1; });
  main.replaceChildren(page[2]());
}
window.addEventListener("hashchange", show);
const models = [...new Set([...runs, ...curveSets, ...(views ? [views] : [])].map((s) => s.model).filter(Boolean))];
const title = models.length ? models.join(", ") : data.bench.length ? "Attention timings" : "Sparse attention";
document.title = title + ": sparse attention report";
const geometry = runs.find((run) => run.geometry)?.geometry;
const theme = make("button", { type: "button", onclick: () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark" || (document.documentElement.dataset.theme ?? "") === "" && matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
} }, "light / dark");
document.body.append(make("header", {}, make("h1", {}, make("bdi", {}, title)), make("span", { class: "soft" },
  [geometry ? `${geometry.q_len} tokens, ${geometry.q_heads} query and ${geometry.kv_heads} KV heads of dimension ${geometry.head_dim} a layer` : "",
   new Set([...runs.flatMap((r) => [...r.index.keys()]), ...viewOf.keys()]).size ? `${new Set([...runs.flatMap((r) => [...r.index.keys()]), ...viewOf.keys()]).size} heads in all` : "", data.made.t].filter(Boolean).join(" · ")), theme),
  make("nav", { role: "tablist", "aria-label": "Pages", onkeydown: (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], at = tabs.indexOf(document.activeElement);
    if (!step || at < 0 || !tabs[at + step]) return;
    tabs[at + step].focus();
    select(pages[at + step][0]);
  } }, ...tabs), main);
show();
document.documentElement.dataset.ready = "1";
