// The data of the page, unpacked, and the state that views share.

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
const fileName = (path) => path.split("/").at(-1);
const headName = (layer, head) => layer + ":" + head;
const paramText = (params) => Object.entries(params || {}).map(([key, value]) => `${key}=${value}`).join(" ");

const runs = data.runs.map((run) => {
  const places = unpack(Int32Array, run.places), index = new Map();
  for (let n = 0; n < places.length / 2; ++n) index.set(headName(places[2 * n], places[2 * n + 1]), n);
  const metrics = Object.fromEntries(Object.entries(run.metrics).map(([name, text]) => [name, unpack(Float32Array, text)]));
  const target = (run.target ? ` for ${run.target.metric} ${run.target.value}` : "") +
    (run.fitted_on ? `, fitted on ${run.fitted_on}, seen on ${fileName(run.dump)}` : "");
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
