// Timings.

function benchView() {
  const section = make("section", { "aria-label": "Bench" });
  const ok = data.bench.filter((row) => row.status === "ok" && row.stats);
  const steps = (method) => new Set(ok.filter((row) => row.method === method).map((row) => row.params?.step)).size;
  const targets = new Set(ok.map((row) => row.target ? `${row.target.metric} ${row.target.value}` : ""));
  const label = (row) => `${row.method}${row.params?.step !== undefined && steps(row.method) > 1 ? " step " + row.params.step : ""}${row.target && targets.size > 1 ? ` at ${row.target.metric} ${row.target.value}` : ""}`;
  const shape = (row) => `${row.geometry.q_heads}/${row.geometry.kv_heads} heads, dimension ${row.geometry.head_dim}, ${row.geometry.dtype}, ${row.dump?.path ? fileName(row.dump.path) : row.dump?.model || ""}${row.cache ? ", " + row.cache + " cache" : ""}, ${row.device ?? "device not named"}`;
  const clocks = (rows) => {
    const list = rows.map((row) => row.env?.sm_clock_mhz).filter(Number.isFinite);
    return list.length ? `SM clock ${Math.min(...list)}${Math.min(...list) < Math.max(...list) ? "–" + Math.max(...list) : ""} MHz` : "clocks not recorded";
  };
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
        s.low.push((row.stats.ci95_ns?.[0] ?? row.stats.median_ns) / 1e6);
        s.high.push((row.stats.ci95_ns?.[1] ?? row.stats.median_ns) / 1e6);
      }
    }
    const lengths = [...new Set(rows.map((row) => row.geometry.kv_len))].sort((a, b) => a - b);
    section.append(make("h2", {}, group), chart([...series.values()], { title: "Time against length", xTitle: "tokens", yTitle: "median time, ms", logX: true, logY: true, xTicks: lengths, xFormat: (v) => v % 1024 ? String(v) : v / 1024 + "k", width: 760, height: 380,
      caption: `${rows[0].device ?? "Device not named"}, ${clocks(rows)}. Planning included; bars: 95 % interval of the median.${targets.size === 1 && rows[0].target ? ` Every method at ${[...targets][0]}.` : ""}` }));
    const split = rows.filter((row) => row.stages_ns && Object.keys(row.stages_ns).length > 1);
    if (split.length) section.append(make("h2", {}, "Where the time goes"), splitBars(split, label));
    const baselines = [...new Set(rows.flatMap((row) => Object.keys(row).filter((k) => k.startsWith("speedup_"))))];
    section.append(table(["method", "tokens", "median ms", "low", "high", "density", "useful TFLOP/s", ...baselines.map((b) => "× " + b.slice(8)), "samples"],
      rows.map((row) => [label(row), row.geometry.kv_len, row.stats.median_ns / 1e6, ...(row.stats.ci95_ns?.map((ns) => ns / 1e6) ?? [null, null]), row.density ?? null, row.tflops_useful ?? null, ...baselines.map((b) => row[b] ?? null), row.stats.n])));
  }
  const bad = data.bench.filter((row) => row.status !== "ok");
  if (bad.length) section.append(make("h2", {}, "Not timed"), table(["method", "tokens", "status", "reason"], bad.map((row) => [row.method, row.geometry?.kv_len ?? null, row.status, row.error ?? ""])));
  const machines = new Map(ok.map((row) => [JSON.stringify([row.device, row.env?.driver, row.env?.cuda_runtime, row.path]), row]));
  section.append(make("h2", {}, "Machine"), table(["device", "path", "driver", "CUDA", "SM clock, MHz", "power, W", "temperature, °C"],
    [...machines.values()].map((row) => [row.device ?? null, row.path ?? null, row.env?.driver ?? null, row.env?.cuda_runtime ?? null, row.env?.sm_clock_mhz ?? null, row.env?.power_w ?? null, row.env?.temperature_c ?? null])));
  return section;
}
function splitBars(rows, label) {
  const stages = [...new Set(rows.flatMap((row) => Object.keys(row.stages_ns)))], width = fit(760), narrow = width < 600, step = narrow ? 40 : 24, left = narrow ? 0 : 290, height = step * rows.length + 8;
  const root = make("svg:svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "Share of each stage" });
  rows.forEach((row, n) => {
    const total = Object.values(row.stages_ns).reduce((a, b) => a + b, 0);
    root.append(make("svg:text", narrow ? { x: 0, y: step * n + 15 } : { x: left - 8, y: step * n + 18, "text-anchor": "end" }, `${label(row)}, ${row.geometry.kv_len % 1024 ? row.geometry.kv_len : row.geometry.kv_len / 1024 + "k"}`));
    let x = left;
    stages.forEach((stage, s) => {
      const w = (row.stages_ns[stage] || 0) / total * (width - left - 8);
      root.append(make("svg:rect", { x, y: step * n + (narrow ? 20 : 5), width: w, height: 18, fill: SERIES[s % SERIES.length] }, make("svg:title", {}, `${stage} ${number((row.stages_ns[stage] || 0) / 1e6)} ms`)));
      x += w;
    });
  });
  return make("figure", {}, make("div", { class: "scroll" }, root), make("p", { class: "soft" }, ...stages.flatMap((stage, s) => {
    const swatch = make("span", {}, "■ ");
    swatch.style.color = SERIES[s % SERIES.length];
    return [swatch, stage + "   "];
  })));
}
