// The page: tabs, title, and what is shown first.

const pages = [];
if (shown.length || data.tables.length) pages.push(["overview", "Overview", shown.length ? overview : () => make("section", {}, dataTables())]);
if (shown.length) pages.push(["head", "Head", headView], ["compare", "Compare", compareView]);
if (data.eval) pages.push(["answers", "Answers", answersView]);
if (data.bench.length) pages.push(["bench", "Bench", benchView]);
pages.push(["about", "About", aboutView]);
const main = make("main", { tabindex: -1 });
const tabs = pages.map(([key, title]) => make("button", { type: "button", role: "tab", id: "tab-" + key, "aria-selected": "false", onclick: () => select(key) }, title));
function select(key) {
  location.hash = key === "head" && state.head ? `head/${state.head}` : key;
  show();
}
function show() {
  const [key, head] = decodeURIComponent(location.hash.slice(1)).split("/");
  if (key === "head" && head) state.head = head;
  const page = pages.find((p) => p[0] === key) || pages[0];
  tabs.forEach((tab, n) => { tab.setAttribute("aria-selected", String(pages[n] === page)); tab.tabIndex = pages[n] === page ? 0 : -1; });
  main.replaceChildren(page[2]());
}
window.addEventListener("hashchange", show);
const models = [...new Set([...runs, ...curveSets, ...(views ? [views] : []), ...answers.sets].map((s) => s.model).filter(Boolean))];
const title = models.length ? models.join(", ") : data.bench.length ? "Attention timings" : "Sparse attention";
document.title = title + ": sparse attention report";
const geometry = runs.find((run) => run.geometry)?.geometry;
const theme = make("button", { type: "button", onclick: () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark" || (document.documentElement.dataset.theme ?? "") === "" && matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
} }, "light / dark");
document.body.append(make("header", {}, make("h1", {}, make("bdi", {}, title)), make("span", { class: "soft" },
  [geometry ? `${geometry.q_len} tokens, ${geometry.q_heads} query and ${geometry.kv_heads} KV heads of dimension ${geometry.head_dim} a layer` : "",
   new Set([...runs.flatMap((r) => [...r.index.keys()]), ...viewOf.keys()]).size ? `${new Set([...runs.flatMap((r) => [...r.index.keys()]), ...viewOf.keys()]).size} heads in all` : "", data.made.t].filter(Boolean).join(" · ")), theme),
  make("nav", { role: "tablist", "aria-label": "Pages", onkeydown: (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], at = tabs.indexOf(document.activeElement);
    if (!step || at < 0 || !tabs[at + step]) return;
    tabs[at + step].focus();
    select(pages[at + step][0]);
  } }, ...tabs), main, make("footer", { class: "soft" }, "Made by ", make("code", {}, command(data.made.argv)), ` (version ${data.made.version}, commit ${data.made.git_sha}); About has the commands behind every row.`));
show();
document.documentElement.dataset.ready = "1";
