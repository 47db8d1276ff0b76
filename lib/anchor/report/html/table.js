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
