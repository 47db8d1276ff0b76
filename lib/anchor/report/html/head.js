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
  const knobs = curve ? curve.knob : view && !view.error ? [NaN] : []; // a method without a slider has one plan
  const marks = (view?.marks || []).map(([knob, why]) => ({ knob: fromRow(knob), why: views.why[why] }));
  const whyOf = (knob) => marks.filter((mark) => mark.knob === knob).map((mark) => mark.why).join("; ");
  let stop = 0;
  if (curve) {
    const started = state.knob !== null && !state.why && curve.at(state.knob) >= 0; // where the reader moved it
    if (!started) {
      const start = marks.length ? { knob: marks[0].knob, why: "" } : startOfAll();
      state.knob = start.knob;
      state.why = start.why || whyOf(start.knob) || "start";
    }
    stop = curve.at(state.knob);
    const go = (value) => { stop = curve.at(value); state.knob = value; state.why = ""; drawLive(); };
    const control = slider(knobName(curveSet), curve.knob, go, state.knob);
    section.append(make("div", { class: "controls" }, control.element,
      ...marks.map((mark) => make("button", { type: "button", onclick: () => { control.move(mark.knob); go(mark.knob); } }, `${number(mark.knob, 6)}: ${mark.why}`))));
  }
  section.append(live);
  const map = view && !view.error ? attentionMap(view) : null;
  const right = make("div"), stripes = make("div");
  section.append(make("div", { class: "pair" }, map ? map.element : "", right), stripes);

  function drawLive() {
    const knob = knobs[stop], words = curve ? `${knobName(curveSet)} ${number(knob, 6)}` : "this plan";
    const why = curve ? whyOf(knob) : "";
    if (curve) live.replaceChildren(make("p", { id: "at-slider", "data-knob": knob, "data-density": curve.density[stop], "data-recall": curve.recall[stop] },
      `At ${words}${why ? ` (${why})` : ""} this head keeps ${percent(curve.recall[stop])} of its attention with ${percent(curve.density[stop])} of the pairs.`));
    right.replaceChildren();
    if (curve) {
      right.append(chart([{ name: "mass_recall", x: curve.density, y: curve.recall }],
        { title: "Mass recall against density", xTitle: "density", yTitle: "mass recall", yRange: [Math.min(curve.recall[0], 0.9), 1], marks: [curve.density[stop]], height: 240 }));
    }
    if (view && !view.error) {
      const tiles = Math.ceil(views.q_len / views.row_tile), all = unpack(Uint16Array, view.row_recall).slice(stop * tiles, (stop + 1) * tiles);
      const y = Array.from(all, (v) => v / 65535);
      right.append(chart([{ name: "row recall", x: y.map((_, t) => views.q_start + Math.min((t + 0.5) * views.row_tile, (t * views.row_tile + views.q_len) / 2)), y }],
        { id: "row-recall", data: y, title: "Mass recall of the rows along the text", xTitle: "query position", yTitle: "mass recall of rows", yRange: [Math.min(0.5, ...y), 1], height: 200,
          caption: `Means over ${views.row_tile} rows, at ${words}.` }));
    }
    if (map) map.draw(stop, words);
    drawStripes(stop, words);
  }
  function drawStripes(at, words) {
    stripes.replaceChildren();
    if (!view || view.error) return;
    const count = (lists) => { let n = 0; for (let i = 0; i < lists.length && lists[i] <= at; i += 2) n = lists[i + 1]; return n; };
    const kept = (view.stripes || []).map(([key, mass, possible, lists, text]) => ({ key, mass, possible, text, lists: count(lists) })).filter((one) => one.lists > 0).slice(0, views.stripes_shown);
    if (kept.length) {
      stripes.append(make("h2", {}, "Stripes"), make("p", { class: "soft" },
        `Keys that ${views.method} chooses as single columns at ${words}, the ${kept.length} of most attention first; of the lists of query rows that could hold the key, so many do.`),
        table(["key", "token", "share of attention", "lists", "of"], kept.map((one) => [one.key, one.text ? make("bdi", { class: "token" }, one.text) : null, one.mass, one.lists, one.possible])));
    } else {
      stripes.append(make("p", { class: "soft" }, view.stripes?.length ? `No stripes at ${words}.` : "No stripes: what is kept here are blocks."));
    }
  }
  drawLive();
  return section;
}

const mapTiles = () => Math.ceil(views.q_len / views.tile);

// The map of attention mass: query tiles down, key blocks across; what the plan drops is dimmed.
function attentionMap(view) {
  const tiles = mapTiles(), blocks = Math.ceil(views.kv_len / views.tile);
  const mass = bytes(view.mass), first = bytes(view.first), start = [0];
  const visible = (row) => Math.ceil(Math.min(views.kv_len, views.q_start + Math.min(views.q_len, (row + 1) * views.tile)) / views.tile);
  for (let row = 0; row < tiles; ++row) start.push(start[row] + visible(row));
  const side = 512, canvas = make("canvas", { width: side, height: Math.max(1, Math.round(side * tiles / blocks)), tabindex: 0, role: "img",
    "aria-label": "Attention mass by query tile and key block; plus and minus zoom, arrow keys move" });
  const image = new OffscreenCanvas(blocks, tiles), text = make("p", { class: "status number" }, "Point at the map for numbers.");
  const caption = make("figcaption");
  let zoom = 1, left = 0, top = 0, current = 0, told = "";
  const dim = make("input", { type: "checkbox", onchange: () => { state.overlay = dim.checked; draw(current); } });
  dim.checked = state.overlay;
  function paint() {
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, left, top, blocks / zoom, tiles / zoom, 0, 0, canvas.width, canvas.height);
  }
  function draw(at, words = told) {
    current = at;
    told = words;
    canvas.dataset.stop = at;
    caption.textContent = `Queries down, keys across, ${views.tile} × ${views.tile} a cell; colour: share of a row's attention, 1e-${views.decades} (dark) to 1 (bright), on a log scale. Dimmed: cells of which less than half of the pairs are kept at ${words}.`;
    const pen = image.getContext("2d"), pixels = pen.createImageData(blocks, tiles);
    for (let row = 0; row < tiles; ++row) {
      for (let block = 0; block < start[row + 1] - start[row]; ++block) {
        const cell = start[row] + block, p = 4 * (row * blocks + block), v = mass[cell] === 0 ? 0 : (mass[cell] - 1) / 254;
        const rgb = parseInt(data.palette.substr(6 * Math.round(255 * v), 6), 16);
        const dropped = dim.checked && first[cell] > at;
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
      (inside ? `${percent(share)} of each row's attention; ${first[cell] <= current ? "half or more of the pairs kept" : "less than half kept"}` : "after the queries");
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
    caption) };
}
