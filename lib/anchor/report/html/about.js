// Where every number comes from.

function aboutView() {
  const section = make("section", { "aria-label": "About" }, make("h2", {}, "This page"), make("p", {}, `Made ${data.made.t} by version ${data.made.version}, commit ${data.made.git_sha}, with`), make("pre", {}, command(data.made.argv)));
  if (data.sources.length) section.append(make("h2", {}, "Its rows"));
  for (const source of data.sources) {
    const env = Object.entries(source.env || {}).map(([k, v]) => `${k} ${v}`).join(", ");
    section.append(make("pre", {}, command(source.argv)), make("p", { class: "soft" }, `${source.rows} rows, ${source.t ?? ""}, version ${source.tool?.version ?? "?"}, commit ${source.tool?.git_sha ?? "?"}${source.tool?.dirty ? " (modified)" : ""}, ${source.device ?? ""}; ${env}`));
  }
  section.append(make("h2", {}, "Words"), make("dl", {}, ...[
    ["density", "pairs of query and key that are kept, of all causal pairs"],
    ["work_density", "pairs that are computed, whole tiles, of all causal pairs"],
    ["mass_recall", "share of the softmax mass that the kept keys hold, mean over query rows"],
    ["output_recall", "share of output elements within the tolerance of dense attention"],
    ["out_rel_l2", "relative L2 distance of the output from dense attention"],
    ["sink_share", "share of the attention that the first key holds"],
    ["stripe", "a single key that a group of query rows keeps"]].flatMap(([term, text]) => [make("dt", {}, term), make("dd", {}, text)])));
  return section;
}
