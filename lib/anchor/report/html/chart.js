// What tells the n-th line of a chart apart: eight colours, then the same with other dashes and marks.
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
const lineOf = (n) => ({ color: SERIES[n % SERIES.length], dash: DASHES[Math.floor(n / SERIES.length) % DASHES.length] });
const MARKS = [(x, y) => `M${x - 4} ${y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z`, (x, y) => `M${x - 4} ${y - 4}h8v8h-8z`, (x, y) => `M${x} ${y - 5}l5 9h-10z`, (x, y) => `M${x} ${y - 5}l5 5l-5 5l-5 -5z`];
// Room on the screen for a drawing that would like to be so wide.
const fit = (width) => Math.max(260, Math.min(width, document.documentElement.clientWidth - 56));

// Heights near the wanted ones, a line of text apart, between top and bottom.
function spread(wanted, top, bottom) {
  const gap = 14, order = wanted.map((_, n) => n).sort((a, b) => wanted[a] - wanted[b]), pools = [];
  order.forEach((n, place) => {
    pools.push({ sum: wanted[n] - gap * place, count: 1 });
    while (pools.length > 1 && pools.at(-2).sum / pools.at(-2).count > pools.at(-1).sum / pools.at(-1).count) {
      const last = pools.pop();
      pools.at(-1).sum += last.sum;
      pools.at(-1).count += last.count;
    }
  });
  const placed = [], lowest = bottom - gap * (wanted.length - 1);
  let place = 0;
  for (const pool of pools) for (let n = 0; n < pool.count; ++n, ++place) placed[order[place]] = Math.max(top, Math.min(pool.sum / pool.count, lowest)) + gap * place;
  return placed;
}

// series: {name, x: [], y: [], low, high, step, dots, color}. One function draws every line chart. With several series
// each has its name at its end; where the screen is narrow, names stand below.
function chart(series, options) {
  const width = fit(options.width || 520), named = series.length > 1, direct = named && width >= 600;
  const longest = Math.max(0, ...series.map((s) => s.name.length));
  const height = Math.max(options.height || 300, direct ? 60 + 14 * series.length : 0), left = 56, top = 12, bottom = 40;
  const right = direct ? Math.min(30 + 6.2 * longest, width * 0.45) : 12;
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
    const span = (high - low) / (width < 420 ? 4 : 5), power = 10 ** Math.floor(Math.log10(span));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= span) || power;
    const list = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; ++n) list.push(Number((n * step).toPrecision(10)));
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
  const ends = [];
  series.forEach((s, n) => {
    const { color, dash } = lineOf(n), stroke = s.color || color;
    let path = "", end = null;
    for (let i = 0; i < s.x.length; ++i) {
      if (!Number.isFinite(log.x(s.x[i])) || !Number.isFinite(log.y(s.y[i]))) continue;
      const x = px(s.x[i]).toFixed(1), y = py(s.y[i]).toFixed(1);
      path += path === "" ? `M${x} ${y}` : s.step ? `H${x}V${y}` : `L${x} ${y}`;
      if (!end || Number(x) >= end[0]) end = [Number(x), Number(y)];
      if (s.dots) root.append(make("svg:path", { class: "dot", d: MARKS[Math.floor(n / SERIES.length + n) % MARKS.length](Number(x), Number(y)), fill: stroke }, make("svg:title", {}, `${s.name}: ${format("x")(s.x[i])}, ${format("y")(s.y[i])}`)));
      if (s.low) root.append(make("svg:path", { d: `M${x} ${py(s.low[i])}V${py(s.high[i])}`, stroke, "stroke-width": 2 }));
    }
    if (!s.alone) root.append(make("svg:path", { class: "line", d: path, stroke, "stroke-dasharray": dash || undefined }));
    if (end) ends.push({ name: s.name, stroke, dash, end, n });
  });
  for (const x of options.marks || []) if (Number.isFinite(log.x(x))) root.append(make("svg:path", { class: "mark", d: `M${px(x)} ${top}V${height - bottom}` }));
  let legend = null;
  if (direct) {
    const heights = spread(ends.map((one) => one.end[1]), top + 6, height - bottom), edge = width - right;
    ends.forEach((one, n) => {
      root.append(make("svg:path", { d: `M${one.end[0]} ${one.end[1]}L${edge + 4} ${one.end[1]}L${edge + 14} ${heights[n]}h4`, class: "leader" }));
      const words = one.name.length * 6.2 > right - 24 ? one.name.slice(0, Math.floor((right - 30) / 6.2)) + "…" : one.name;
      root.append(make("svg:text", { class: "label", x: edge + 21, y: heights[n] + 4 }, words, make("svg:title", {}, one.name)));
    });
  } else if (named) {
    legend = make("ul", { class: "legend soft" }, ...ends.map((one) => make("li", {},
      make("svg:svg", { width: 28, height: 12, "aria-hidden": "true" }, make("svg:path", { d: "M0 6h28", stroke: one.stroke, "stroke-width": 3, "stroke-dasharray": one.dash || undefined })), " " + one.name)));
  }
  return make("figure", { id: options.id, "data-values": options.data ? JSON.stringify(options.data) : undefined }, make("div", { class: "scroll" }, root), legend, options.caption ? make("figcaption", {}, options.caption) : null);
}
