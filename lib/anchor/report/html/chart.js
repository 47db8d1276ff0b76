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
