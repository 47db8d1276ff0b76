#include <fmt/format.h>

#include "anchor/base/number.hpp"
#include "anchor/rows/json_fields.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {
namespace {

constexpr NumberRange share{0, 1 + 1e-6};  // rows of the past summed in float
constexpr NumberRange not_negative{.low = 0};
constexpr NumberRange index{0, 999'999};
constexpr NumberRange count{1, 1e6};
constexpr NumberRange tokens{1, 1e12};
constexpr NumberRange windows{1, 9e18};

void read_dump(JsonFields dump, ResultRow& row) {
  dump.text("path", row.dump_path);
  dump.text("model", row.model);
  dump.integer("layer", row.layer, index);
  dump.integer("head", row.head, index);
  dump.integer("kv_head", row.kv_head, index);
}

void read_geometry(JsonFields fields, ResultRow& row) {
  fields.text("dtype", row.dtype);
  if (fields.find("q_len") == nullptr) return;
  Geometry geometry;
  geometry.q_heads = static_cast<int>(fields.need_integer("q_heads", count));
  geometry.kv_heads = static_cast<int>(fields.need_integer("kv_heads", count));
  geometry.q_len = fields.need_integer("q_len", tokens);
  geometry.kv_len = fields.need_integer("kv_len", tokens);
  geometry.q_start = fields.need_integer("q_start", {0, tokens.high});
  geometry.head_dim = static_cast<int>(fields.need_integer("head_dim", count));
  if (fields.find("window") != nullptr) geometry.sliding_window = fields.need_integer("window", windows);
  if (geometry.q_heads % geometry.kv_heads != 0)
    fields.wrong("kv_heads", fmt::format("is {}; it must divide the {} query heads", geometry.kv_heads,
                                         geometry.q_heads));
  row.geometry = geometry;
  if (fields.find("rows") == nullptr) return;
  const std::string rows = fields.need_text("rows");
  const auto dash = rows.find('-');
  const double begin = parse_number(rows.substr(0, dash)).value_or(-1);
  const double last = dash == std::string::npos ? -1 : parse_number(rows.substr(dash + 1)).value_or(-1);
  if (!(begin >= 0 && begin <= last && last < static_cast<double>(geometry.q_len)))
    fields.wrong("rows", fmt::format("is \"{}\"; write it as N-M, rows of the {}", rows, geometry.q_len));
  row.rows = RowRange{static_cast<std::int64_t>(begin), static_cast<std::int64_t>(last) + 1};
}

CurvePoints read_curve(JsonFields fields) {
  CurvePoints curve;
  fields.numbers("knob", curve.knob);
  fields.numbers("density", curve.density, share);
  fields.numbers("mass_recall", curve.mass_recall, share);
  fields.numbers("mass_recall_p05", curve.mass_recall_p05, share);
  fields.numbers("mass_recall_min", curve.mass_recall_min, share);
  fields.numbers("out_rel_l2", curve.out_rel_l2, not_negative);
  const std::size_t points = curve.knob.size();
  if (points == 0) fields.wrong("knob", "is empty or missing");
  if (curve.density.size() != points) fields.wrong("density", "is not as long as the knobs");
  if (curve.mass_recall.size() != points) fields.wrong("mass_recall", "is not as long as the knobs");
  for (const auto* column : {&curve.mass_recall_p05, &curve.mass_recall_min, &curve.out_rel_l2})
    if (!column->empty() && column->size() != points)
      fields.wrong("", "has columns that are not as long as the knobs");
  return curve;
}

EvalResult read_eval(JsonFields& fields) {
  EvalResult eval;
  fields.text("task", eval.task);
  fields.text("task_kind", eval.task_kind);
  fields.integer("task_length", eval.task_length, tokens);
  fields.number("task_depth", eval.task_depth, {0, 1});
  eval.n = static_cast<int>(fields.need_integer("n", {0, 1e9}));
  eval.flips = static_cast<int>(fields.need_integer("flips", {0, static_cast<double>(eval.n)}));
  const std::vector<double> interval = fields.need_numbers("flips_ci95", share);
  if (interval.size() != 2) fields.wrong("flips_ci95", "does not hold two numbers");
  eval.flips_low = interval[0];
  eval.flips_high = interval[1];
  eval.dense_accuracy = fields.need_number("dense_accuracy", share);
  eval.accuracy = fields.need_number("accuracy", share);
  eval.kl_mean = fields.need_number("kl_mean", not_negative);
  eval.kl_p999 = fields.need_number("kl_p999", not_negative);
  eval.kl_max = fields.need_number("kl_max", not_negative);
  eval.same_top = fields.need_number("same_top", share);
  fields.number("evidence_kept", eval.evidence_kept, share);
  fields.number("attention_ms", eval.attention_ms, not_negative);
  fields.number("log_probability", eval.log_probability);
  fields.number("dense_log_probability", eval.dense_log_probability);
  fields.numbers("kl", eval.kl, not_negative);
  return eval;
}

SparsityStats read_sparsity(JsonFields fields) {
  SparsityStats stats;
  fields.numbers("density_by_position", stats.density_by_position);
  fields.number("stripe_persistence", stats.stripe_persistence);
  fields.number("shared_stripe_density", stats.shared_stripe_density);
  stats.sink_share = fields.need_number("sink_share", share);
  if (auto places = fields.object("row_max"))
    stats.row_max = {places->need_number("initial"), places->need_number("local"),
                     places->need_number("elsewhere")};
  return stats;
}

void read_times(JsonFields& fields, ResultRow& row) {
  if (const Json* samples = fields.find("time_ns")) {
    for (const auto& [stage, list] : fields.object_of(*samples, "time_ns").items())
      for (const Json& one : fields.list_of(list, "time_ns"))
        row.time_ns[stage].push_back(fields.integer_of(one, "time_ns", not_negative));
  }
  if (const Json* stages = fields.find("stages_ns")) {
    for (const auto& [stage, time] : fields.object_of(*stages, "stages_ns").items())
      row.stages_ns[stage] = fields.integer_of(time, "stages_ns", not_negative);
  }
  if (auto stats = fields.object("stats")) {
    row.stats = {.median_ns = stats->need_number("median_ns", not_negative),
                 .n = static_cast<int>(stats->need_integer("n", {0, 1e9}))};
    std::vector<double> interval;
    stats->numbers("ci95_ns", interval, not_negative);
    if (stats->find("ci95_ns") == nullptr) return;
    if (interval.size() != 2) stats->wrong("ci95_ns", "does not hold two numbers");
    row.stats->ci95_low_ns = interval[0];
    row.stats->ci95_high_ns = interval[1];
  }
}

void read_tool(JsonFields fields, ToolInfo& tool) {
  fields.text("version", tool.version);
  fields.text("git_sha", tool.git_sha);
  fields.text("build", tool.build);
  const Json* dirty = fields.find("dirty");
  if (dirty == nullptr) return;
  if (!dirty->is_boolean()) fields.wrong("dirty", "is not true or false");
  tool.dirty = dirty->get<bool>();
}

/// A result without what every result of its kind has would be taken for zero.
void require_result(JsonFields& fields, const ResultRow& row) {
  if (row.kind == "curve" && row.status != "error" && !row.curve) fields.wrong("curve", "is missing");
  if (!row.ok() || row.scope != "head" || !row.head || (row.kind != "sweep" && row.kind != "recall")) return;
  if (row.kind == "sweep") fields.need("value");
  if (row.path == "external") return;  // what other programs computed: data/score_output.py knows no plan
  fields.need("density");
  fields.need("mass_recall");
}

}  // namespace

ResultRow row_from_json(const Json& json, const std::string& where) {
  JsonFields fields(json, where);
  ResultRow row;
  fields.need("schema");
  fields.text("unit", row.unit);
  row.kind = fields.need_text("kind");
  fields.text("scope", row.scope);
  row.status = fields.need_text("status");
  if (row.status != "ok" && row.status != "error" && row.status != "skipped")
    fields.wrong("status", "is none of ok, error, skipped");
  fields.text("error", row.error);
  if (auto dump = fields.object("dump")) read_dump(std::move(*dump), row);
  if (auto geometry = fields.object("geometry")) read_geometry(std::move(*geometry), row);
  fields.text("method", row.method);
  fields.scalars("params", row.params);
  fields.text("device", row.device);
  fields.text("path", row.path);
  fields.text("plan_path", row.plan_path);
  fields.number("density", row.density, share);
  fields.number("work_density", row.work_density, not_negative);
  fields.number("stripe_density", row.stripe_density, share);
  fields.number("mass_recall", row.mass_recall, share);
  fields.number("mass_recall_p05", row.mass_recall_p05, share);
  fields.number("mass_recall_min", row.mass_recall_min, share);
  fields.number("peak_recall_0.25", row.peak_recall_025, share);
  fields.number("peak_recall_0.0625", row.peak_recall_00625, share);
  fields.number("peak_pairs_0.25", row.peak_pairs_025, not_negative);
  fields.number("peak_pairs_0.0625", row.peak_pairs_00625, not_negative);
  fields.number("output_recall_0.01", row.output_recall_001, share);
  fields.number("output_recall_0.005", row.output_recall_0005, share);
  fields.number("out_rel_l2", row.out_rel_l2, not_negative);
  fields.number("out_max_abs", row.out_max_abs, not_negative);
  fields.number("out_mean_abs", row.out_mean_abs, not_negative);
  if (row.kind == "eval" && row.ok() && fields.find("n") != nullptr) row.eval = read_eval(fields);
  if (auto sparsity = fields.object("sparsity")) row.sparsity = read_sparsity(std::move(*sparsity));
  if (auto target = fields.object("target"))
    row.target = {target->need_text("metric"), target->need_text("statistic"), target->need_number("value")};
  fields.number("value", row.value);
  if (auto curve = fields.object("curve")) row.curve = read_curve(std::move(*curve));
  read_times(fields, row);
  row.tool.emplace();
  if (auto tool = fields.object("tool")) read_tool(std::move(*tool), *row.tool);
  fields.scalars("env", row.env);
  fields.texts("argv", row.argv);
  fields.text("t", row.time);
  require_result(fields, row);
  fields.rest([&](const std::string& key, const Json& value) {
    if (value.is_number() || value.is_string()) row.extra[key] = scalar_from_json(value);
  });
  return row;
}

bool is_result_row(const Json& json) {
  const auto it = json.is_object() ? json.find("schema") : json.end();
  return json.is_object() && it != json.end() && *it == result_schema;
}

}  // namespace anchor
