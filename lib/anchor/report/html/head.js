// One head: its rows, curve, attention map, row recall along the text, and stripes.

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
