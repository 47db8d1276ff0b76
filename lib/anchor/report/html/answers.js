// What sparse attention does to a model's answers: tables, frontiers, depth maps, and the heads that go with flips.

const answers = data.eval || { sets: [], pairs: [], failed: [] };
const placeName = (place) => `${place.kind} ${place.length % 1024 ? place.length : place.length / 1024 + "k"}`;
const flipShare = (one) => one.dense > 0 ? one.flips / (one.dense * one.n) : NaN;

// Table of cells with a colour each. rows: {name, cells: [{text, value, title, head}]}; a value of null has no colour.
function colored(corner, columns, rows, position, label) {
  return make("div", { class: "scroll" }, make("table", { class: "heat", "aria-label": label },
    make("thead", {}, make("tr", {}, make("th", {}, corner), ...columns.map((c) => make("th", { scope: "col" }, c)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, make("th", { scope: "row" }, row.name), ...row.cells.map((cell) => {
      if (!cell) return make("td");
      const open = cell.head && hasHead(cell.head);
      const node = make(open ? "button" : "span", { type: open ? "button" : undefined, class: "cell" + (cell.value === null ? " missing" : ""), title: cell.title,
        "data-head": cell.head, onclick: open ? () => openHead(cell.head) : () => {} }, cell.text);
      if (cell.value !== null) {
        const back = color(position(cell.value));
        node.style.backgroundColor = back;
        node.style.color = ink(back);
      }
      return make("td", {}, node);
    }))))));
}
const hasHead = (name) => viewOf.has(name) || runs.some((run) => run.index.has(name)) || (curveSet ? curveSet.heads.has(name) : false);

// One line per method, sorted from cheap to dear.
function frontier(title, yTitle, value, options) {
  const speaking = answers.sets.filter((set) => set.all.n > 0 && set.all.density !== undefined);
  const timed = speaking.every((set) => set.all.ms !== undefined), cost = (set) => timed ? set.all.ms : set.all.density;
  const series = [...new Set(speaking.map((set) => set.method))].map((method) => {
    const own = speaking.filter((set) => set.method === method).sort((a, b) => cost(a) - cost(b));
    return { name: method, x: own.map(cost), y: own.map((set) => value(set.all)), dots: true,
      ...(options.bars ? { low: own.map((set) => 100 * set.all.low), high: own.map((set) => 100 * set.all.high) } : {}) };
  });
  return series.length ? chart(series, { title, xTitle: timed ? "milliseconds of attention a layer" : "density", yTitle, width: 760, height: 380, logX: true, ...options }) : null;
}

function pointTables(point, sets) {
  const part = make("div", {}, make("h2", {}, point ? `Knobs for ${point}` : "Knobs as given"));
  part.append(table(["method", "questions", "dense right", "right", "flips", "low, %", "high, %", "KL mean", "KL 99.9 %", "KL max", "same top", "evidence kept", "density", "ms", "worst kind"],
    sets.map(({ label, all, worst, places }) => {
      const place = worst && places.find((p) => p.kind === worst[0] && p.length === worst[1]);
      return [label, all.n, all.dense, all.right, all.flips, 100 * all.low, 100 * all.high, all.kl, all.p999, all.max, all.top, all.evidence ?? null, all.density ?? null, all.ms ?? null,
        place ? `${placeName(place)}: ${place.flips} of ${Math.round(place.dense * place.n)}` : "none flips"];
    })));
  const places = [...new Map(sets.flatMap((set) => set.places).map((p) => [placeName(p), p])).values()];
  const cellOf = (set, place) => set.places.find((p) => p.kind === place.kind && p.length === place.length);
  part.append(make("h3", {}, "Flips by kind and length, % of what dense attention gets right"),
    colored("kind", [...sets.map((set) => set.label), "dense right"], places.map((place) => ({ name: placeName(place) + (place.counts ? "" : " *"), cells: [...sets.map((set) => {
      const one = cellOf(set, place), share = one ? flipShare(one) : NaN;
      return one && { text: Number.isNaN(share) ? "–" : (100 * share).toFixed(1), value: one.counts ? share : null, title: `${one.flips} of ${Math.round(one.dense * one.n)}; KL ${number(one.kl)}` };
    }), { text: (100 * place.dense).toFixed(0) + " %", value: null, title: `${place.n} questions` }] })), (v) => 1 - Math.min(1, v), "Flips by kind and length"));
  if (places.some((place) => !place.counts)) part.append(make("p", { class: "soft" }, "* dense attention gets less than 80 % right; grey, and left out of the means."));
  const own = answers.pairs.filter(([a, b]) => sets.includes(answers.sets[a]) && sets.includes(answers.sets[b]));
  if (own.length) part.append(make("details", {}, make("summary", {}, `In pairs (McNemar's exact test, ${own.length})`),
    table(["first", "second", "questions", "right with the first alone", "with the second alone", "p"], own.map(([a, b, ...rest]) => [answers.sets[a].label, answers.sets[b].label, ...rest]))));
  return part;
}

function depthMaps(sets) {
  const part = make("div", {}, make("h2", {}, "By depth and length"), make("p", { class: "soft" }, "Which share of dense attention's right answers stays right: depth of the evidence downward, tokens to the right. Grey: no question."));
  const row = make("div", { class: "maps" });
  for (const { name, depth } of sets) {
    const { lengths, bins, kept, questions } = depth;
    row.append(make("figure", {}, colored("depth", lengths.map((n) => n % 1024 ? String(n) : n / 1024 + "k"), Array.from({ length: bins }, (_, bin) => ({ name: (bin / bins).toFixed(1), cells: lengths.map((_, n) => {
      const value = kept[bin * lengths.length + n];
      return { text: value === null ? "" : value === 1 ? "1" : value.toFixed(2).slice(1), value, title: `${questions[bin * lengths.length + n]} questions` };
    }) })), (v) => v, `${name}: answers kept by depth and length`), make("figcaption", {}, name)));
  }
  part.append(row);
  return part;
}

// Which heads' lost evidence goes with flips.
function starvedHeads(sets) {
  const part = make("div", {}, make("h2", {}, "Heads whose lost evidence goes with flips")), body = make("div");
  const choose = make("select", { onchange: () => draw() }, ...sets.map((set, n) => make("option", { value: n }, set.name)));
  choose.value = 0;
  const draw = () => {
    const { starved } = sets[Number(choose.value)], byName = new Map(starved.heads.map((h) => [headName(h[0], h[1]), h]));
    const layers = [...new Set(starved.heads.map((h) => h[0]))], heads = [...new Set(starved.heads.map((h) => h[1]))].sort((a, b) => a - b);
    const chance = 1.96 / Math.sqrt(starved.n), strong = starved.heads.filter((h) => h[4] !== null && Math.abs(h[4]) > chance).length;
    const cell = (layer, head) => {
      const h = byName.get(headName(layer, head));
      return h && { head: headName(layer, head), text: h[4] === null ? "" : h[4].toFixed(2).replace("0.", "."), value: h[4], title: `layer ${layer}, head ${head}: correlation ${number(h[4])}; keeps ${percent(h[2])} of the evidence, ${percent(h[3])} where the answer flips` };
    };
    const most = starved.heads.filter((h) => h[4] !== null).sort((a, b) => b[4] - a[4]).slice(0, 12);
    const link = (h) => hasHead(headName(h[0], h[1])) ? make("a", { href: `#head/${headName(h[0], h[1])}` }, `${h[0]}:${h[1]}`) : `${h[0]}:${h[1]}`;
    body.replaceChildren(
      make("p", {}, `Correlation, over ${starved.n} questions that dense attention gets right (${starved.flips} flip), of the share of the evidence's tokens that a head's plan drops for the prompt's last row and of the flip. ${strong} of ${starved.heads.length} heads lie beyond ±${chance.toFixed(2)}; chance alone puts about ${Math.round(0.05 * starved.heads.length)} there. Empty: the head always keeps the same share.`),
      colored("layer \\ head", heads.map(String), layers.map((layer) => ({ name: String(layer), cells: heads.map((head) => cell(layer, head)) })), (v) => (v + 1) / 2, "Correlation of lost evidence and flips by layer and head"),
      make("h3", {}, "The twelve that go with flips most"),
      table(["head", "correlation", "evidence kept", "kept where the answer flips"], most.map((h) => [link(h), h[4], h[2], h[3]])));
  };
  draw();
  part.append(make("div", { class: "controls" }, make("label", {}, "setting", choose)), body);
  if (!viewOf.size && !runs.length) part.append(make("p", { class: "soft" }, "With a dump or rows of anchor-recall on the page, a head opens where its recall is shown."));
  return part;
}

function answersView() {
  const section = make("section", { "aria-label": "Answers" }), sets = answers.sets;
  for (const one of [frontier("How far probabilities move", "mean KL(dense ‖ method), nats", (all) => all.kl, { logY: true }),
    frontier("Answers that flip", "flips, % of what dense gets right", (all) => 100 * flipShare(all), { bars: true })]) if (one) section.append(one);
  for (const point of new Set(sets.map((set) => set.point))) section.append(pointTables(point, sets.filter((set) => set.point === point)));
  const deep = sets.filter((set) => set.depth), starved = sets.filter((set) => set.starved.heads.length);
  if (deep.length) section.append(depthMaps(deep));
  if (starved.length) section.append(starvedHeads(starved));
  if (answers.failed.length) section.append(make("h2", {}, "Without a result"), table(["method", "reason", "questions"], answers.failed));
  return section;
}
