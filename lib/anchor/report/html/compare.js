// Methods side by side.

function compareView() {
  const section = make("section", { "aria-label": "Compare" });
  const series = [], points = new Map();
  for (const set of curveSets) {
    if (set.mean) series.push({ name: set.name + (curveSets.some((s) => s.dump !== set.dump) ? ` on ${fileName(set.dump)}` : ""),
      x: unpack(Float32Array, set.mean.density), y: unpack(Float32Array, set.mean.mass_recall), step: true });
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
      make("p", { class: "soft" }, "Lines: one knob for all heads, at every value (methods without exact curves: at those of a grid). Dots: rows that were replayed or searched."),
      ...Object.values(data.notes).map((note) => make("p", { class: "soft" }, note)));
  }
  if (curveSets.length) {
    const rows = curveSets.filter((set) => set.mean).map((set) => [set.name, fileName(set.dump), ...set.mean.needed.flatMap(([, one, own]) => [one ?? NaN, own])]);
    const targets = curveSets.find((set) => set.mean)?.mean.needed.map(([target]) => target) || [];
    section.append(make("h2", {}, "Density needed for a mean recall"), table(["method", "dump", ...targets.flatMap((t) => [`${t}, one knob`, `${t}, knob per head`])], rows));
  }
  const fitted = runs.filter((run) => run.fitted_on);
  if (fitted.length) section.append(make("h2", {}, "Generalisation: knobs fitted on a row's dumps, on the column's dump"), matrix(fitted));
  if (runs.length) {
    const names = ["density", "work_density", "mass_recall", "mass_recall_min", "out_rel_l2"];
    section.append(make("h2", {}, "Runs, means over heads"), table(["method", "dump", "parameters", "kind", ...names.map((n) => n === "mass_recall_min" ? "least row recall" : n), "worst head's recall", "failed heads"],
      runs.map((run) => [run.method, fileName(run.dump), paramText(run.params), run.kind, ...names.map((n) => {
        const values = Array.from(run.metrics[n] || []).filter(Number.isFinite);
        return values.length ? (n === "mass_recall_min" ? Math.min(...values) : mean(values)) : null;
      }), run.metrics.mass_recall ? Math.min(...Array.from(run.metrics.mass_recall).filter(Number.isFinite)) : null, Object.keys(run.errors).length])));
  }
  return section;
}

// Recall at density of knobs fitted on one dump (row) and used on another (column), and the worst head's shortfall.
function matrix(fitted) {
  const dumps = [...new Set(fitted.map((run) => fileName(run.dump)))], methods = [...new Set(fitted.map((run) => run.method))];
  const finite = (run, metric) => Array.from(run.metrics[metric] || []).filter(Number.isFinite);
  const cell = (run) => `${number(mean(finite(run, "mass_recall")))} at ${number(mean(finite(run, "density")))}, worst −${number(Math.max(0, ...finite(run, "shortfall")), 3)}`;
  const rows = [];
  for (const method of methods) {
    for (const source of new Set(fitted.map((run) => run.fitted_on))) {
      const own = fitted.filter((run) => run.method === method && run.fitted_on === source);
      if (own.length) rows.push([method, source, ...dumps.map((d) => own.filter((run) => fileName(run.dump) === d).map((run) => cell(run) + (run.role === "fit" ? " *" : ""))[0] ?? null)]);
    }
  }
  return make("div", {}, table(["method", "fitted on", ...dumps], rows), make("p", { class: "soft" }, "Mean mass recall at mean density, and how far the worst head stays below the target. * fitted on this dump."));
}
