// The data of the page, unpacked, and the state that views share.

const fileName = (path) => path.split("/").at(-1);
const headName = (layer, head) => layer + ":" + head;
const paramText = (params) => Object.entries(params || {}).map(([key, value]) => `${key}=${value}`).join(" ");

// What tells entries of one method apart, and their knobs: {method, params, knob} -> names.
function labels(entries) {
  return entries.map((entry) => {
    const others = entries.filter((other) => other.method === entry.method);
    const shown = Object.entries(entry.params || {}).filter(([key, value]) => key === entry.knob || others.some((other) => other.params?.[key] !== value));
    return [entry.method, ...shown.map(([key, value]) => `${key}=${value}`)].join(" ");
  });
}

const runs = data.runs.map((run) => {
  const places = unpack(Int32Array, run.places), index = new Map();
  for (let n = 0; n < places.length / 2; ++n) index.set(headName(places[2 * n], places[2 * n + 1]), n);
  const metrics = Object.fromEntries(Object.entries(run.metrics).map(([name, text]) => [name, unpack(Float32Array, text)]));
  return { ...run, index, metrics, errors: run.errors || {} };
});
const runDumps = new Set(runs.map((run) => run.dump));
labels(runs).forEach((label, n) => {
  const run = runs[n];
  const target = (run.target ? ` for ${run.target.metric} ${run.target.value}` : "") +
    (run.fitted_on ? `, fitted on ${run.fitted_on}, seen on ${fileName(run.dump)}` : runDumps.size > 1 ? `, ${fileName(run.dump)}` : "");
  run.name = `${label}${target} (${run.kind})`;
});
const views = data.views[0];
const viewOf = new Map((views ? views.heads : []).map((head) => [headName(head.layer, head.head), head]));

// Density and recall of one head at every stop of its slider: exact there.
class Stops {
  constructor(packed, knobs) {
    this.knob = knobs;
    this.density = unpack(Float32Array, packed.density);
    this.recall = unpack(Float32Array, packed.mass_recall);
  }
  at(knob) { return this.knob.indexOf(knob); }
}
const stopsOf = (set) => (set.stops || []).map(fromRow);
// The shared stops and the head's own marks, in order of density, as the planner's side merges them.
function headStops(shared, head) {
  const all = [...new Set([...shared, ...(head.marks || []).map(([knob]) => fromRow(knob))])].sort((a, b) => a === b ? 0 : a < b ? -1 : 1);
  return views.descending ? all.reverse() : all;
}
// All heads of one dump, method and parameters, at the stops of one slider.
const curveSets = data.curves.map((set) => {
  const stops = stopsOf(set);
  return { ...set, stops, heads: new Map(set.heads.map((head) => [headName(head.layer, head.head), new Stops(head, stops)])) };
});
if (views && views.stops.length) {
  const stops = stopsOf(views), heads = new Map();
  for (const [name, head] of viewOf) if (!head.error) heads.set(name, new Stops(head, headStops(stops, head)));
  const known = curveSets.find((set) => set.dump === views.path && set.method === views.method && paramText(set.params) === paramText(views.params));
  if (known) for (const [name, head] of heads) known.heads.set(name, head);
  else if (heads.size) curveSets.push({ dump: views.path, model: views.model, method: views.method, knob: views.knob, params: views.params, stops, mean: views.mean, heads });
}
labels(curveSets).forEach((label, n) => { curveSets[n].name = label; });
const curveSet = curveSets.find((set) => views && set.dump === views.path && set.method === views.method) || curveSets[0];
const knobName = (set) => set && set.knob || "knob";
const stops = curveSet ? curveSet.stops : [];

// Where the slider of all heads starts, and why.
function startOfAll() {
  if (views?.start && stops.includes(fromRow(views.start[0]))) return { knob: fromRow(views.start[0]), why: views.why[views.start[1]] };
  const reaching = stops.find((knob) => mean([...curveSet.heads.values()].map((head) => head.recall[head.at(knob)])) >= 0.95);
  return { knob: reaching ?? stops[stops.length - 1], why: reaching === undefined ? "where heads keep most" : "the first stop at which heads keep 95 % on average" };
}

const state = { run: null, metric: "mass_recall", knob: null, why: "", head: null, sort: 0, overlay: true };
const shown = []; // what the "show" control offers
if (curveSet) shown.push({ key: "curve", name: `${curveSet.name}: at the slider` });
runs.forEach((run, n) => shown.push({ key: "run" + n, name: run.name }));
const LOW_IS_GOOD = /density|out_|sink/;

// Value of a metric for every head under what is shown: Map name -> number (NaN: failed or not there).
function valuesOf(key, metric) {
  const values = new Map();
  if (key === "curve") {
    for (const [name, head] of curveSet.heads) {
      const at = head.at(state.knob);
      values.set(name, metric === "density" ? head.density[at] : metric === "sink_share" ? viewOf.get(name)?.sink_share ?? NaN : head.recall[at]);
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
