#include "anchor/rows/result_row.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <array>
#include <cmath>

#include "anchor/base/number.hpp"

namespace anchor {
namespace {

struct Quantity {
  const char* name;
  std::optional<double> ResultRow::*field;
};
constexpr Quantity quantities[] = {{"density", &ResultRow::density},
                                   {"work_density", &ResultRow::work_density},
                                   {"stripe_density", &ResultRow::stripe_density},
                                   {"mass_recall", &ResultRow::mass_recall},
                                   {"mass_recall_p05", &ResultRow::mass_recall_p05},
                                   {"mass_recall_min", &ResultRow::mass_recall_min},
                                   {"peak_recall_0.25", &ResultRow::peak_recall_025},
                                   {"peak_recall_0.0625", &ResultRow::peak_recall_00625},
                                   {"peak_pairs_0.25", &ResultRow::peak_pairs_025},
                                   {"peak_pairs_0.0625", &ResultRow::peak_pairs_00625},
                                   {"output_recall_0.01", &ResultRow::output_recall_001},
                                   {"output_recall_0.005", &ResultRow::output_recall_0005},
                                   {"out_rel_l2", &ResultRow::out_rel_l2},
                                   {"out_max_abs", &ResultRow::out_max_abs},
                                   {"out_mean_abs", &ResultRow::out_mean_abs},
                                   {"value", &ResultRow::value}};

struct EvalQuantity {
  const char* name;
  double EvalResult::*field;
};
constexpr EvalQuantity eval_quantities[] = {{"dense_accuracy", &EvalResult::dense_accuracy},
                                            {"accuracy", &EvalResult::accuracy},
                                            {"kl_mean", &EvalResult::kl_mean},
                                            {"kl_p999", &EvalResult::kl_p999},
                                            {"kl_max", &EvalResult::kl_max},
                                            {"same_top", &EvalResult::same_top}};

void put(Json& json, const char* key, const std::string& value) {
  if (!value.empty()) json[key] = value;
}

void put(Json& json, const char* key, const std::optional<double>& value) {
  if (value) json[key] = json_number(*value);
}

void put(Json& json, const char* key, const std::optional<int>& value) {
  if (value) json[key] = *value;
}

void put(Json& json, const char* key, const Json& object) {
  if (!object.empty()) json[key] = object;
}

Json numbers(const std::vector<double>& values) {
  Json array = Json::array();
  for (const double value : values) array.push_back(json_number(value));
  return array;
}

void put(Json& json, const EvalResult& eval) {
  put(json, "task", eval.task);
  put(json, "task_kind", eval.task_kind);
  put(json, "task_length", eval.task_length);
  put(json, "task_depth", eval.task_depth);
  json["n"] = eval.n;
  json["flips"] = eval.flips;
  json["flips_ci95"] = {json_number(eval.flips_low), json_number(eval.flips_high)};
  for (const EvalQuantity& one : eval_quantities) json[one.name] = json_number(eval.*one.field);
  put(json, "evidence_kept", eval.evidence_kept);
  put(json, "attention_ms", eval.attention_ms);
  put(json, "log_probability", eval.log_probability);
  put(json, "dense_log_probability", eval.dense_log_probability);
  put(json, "kl", numbers(eval.kl));
}

Json dump_json(const ResultRow& row) {
  Json dump = Json::object();
  put(dump, "path", row.dump_path);
  put(dump, "model", row.model);
  put(dump, "layer", row.layer);
  put(dump, "head", row.head);
  put(dump, "kv_head", row.kv_head);
  return dump;
}

Json sparsity_json(const SparsityStats& stats) {
  Json json{{"density_by_position", stats.density_by_position}};
  if (stats.stripe_persistence) json["stripe_persistence"] = *stats.stripe_persistence;
  if (stats.shared_stripe_density) json["shared_stripe_density"] = *stats.shared_stripe_density;
  json["sink_share"] = stats.sink_share;
  json["row_max"] = {{"initial", stats.row_max.initial},
                     {"local", stats.row_max.local},
                     {"elsewhere", stats.row_max.elsewhere}};
  return json;
}

}  // namespace

std::optional<double> quantity(const ResultRow& row, std::string_view name) {
  if (row.eval) {
    for (const EvalQuantity& one : eval_quantities)
      if (name == one.name) return (*row.eval).*one.field;
    if (name == "attention_ms") return row.eval->attention_ms;
  }
  for (const Quantity& one : quantities)
    if (name == one.name) return row.*one.field;
  const auto found = row.extra.find(name);
  if (found == row.extra.end()) return {};
  const double* number = std::get_if<double>(&found->second);
  return number ? std::optional(*number) : std::nullopt;
}

std::span<const std::string_view> quantity_names() {
  static constexpr auto names = [] {
    std::array<std::string_view, std::size(quantities)> all;
    for (std::size_t n = 0; n < all.size(); ++n) all[n] = quantities[n].name;
    return all;
  }();
  return names;
}

Json json_number(double value) {
  if (std::isfinite(value)) {
    if (value == std::floor(value) && std::abs(value) < 1e15) return static_cast<std::int64_t>(value);
    return value;
  }
  return std::isnan(value) ? "nan" : format_number(value);
}

std::optional<Json> parse_row(std::string_view line) {
  std::optional<Json> row = parse_json(line);
  return row && is_result_row(*row) ? std::move(row) : std::nullopt;
}

std::optional<double> number_from_json(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return parse_number(value.get_ref<const std::string&>());
  return std::nullopt;
}

Json scalar_json(const Scalar& value) {
  const double* number = std::get_if<double>(&value);
  return number ? json_number(*number) : Json(std::get<std::string>(value));
}

Scalar scalar_from_json(const Json& value) {
  const auto number = number_from_json(value);
  return number ? Scalar(*number) : Scalar(value.get<std::string>());
}

Json scalars_json(const ScalarMap& map) {
  Json object = Json::object();
  for (const auto& [key, value] : map) object[key] = scalar_json(value);
  return object;
}

Json geometry_json(const ResultRow& row) {
  Json json = Json::object();
  if (row.geometry) {
    const Geometry& geometry = *row.geometry;
    json = {{"q_heads", geometry.q_heads}, {"kv_heads", geometry.kv_heads}, {"q_len", geometry.q_len},
            {"kv_len", geometry.kv_len},   {"q_start", geometry.q_start},   {"head_dim", geometry.head_dim}};
    if (geometry.sliding_window > 0) json["window"] = geometry.sliding_window;
    if (row.rows) json["rows"] = fmt::format("{}-{}", row.rows->begin, row.rows->end - 1);
  }
  put(json, "dtype", row.dtype);
  return json;
}

Json tool_json(const ToolInfo& tool) {
  Json json{{"version", tool.version}};
  if (tool.git_sha.empty()) return json;  // other programs write rows, too
  json["git_sha"] = tool.git_sha;
  json["dirty"] = tool.dirty;
  put(json, "build", tool.build);
  return json;
}

Json target_json(const Target& target) {
  return {{"metric", target.metric}, {"statistic", target.statistic}, {"value", json_number(target.value)}};
}

Json to_json(const ResultRow& row) {
  Json json;
  json["schema"] = result_schema;
  put(json, "unit", row.unit);
  json["kind"] = row.kind;
  json["scope"] = row.scope;
  json["status"] = row.status;
  put(json, "error", row.error);
  put(json, "dump", dump_json(row));
  put(json, "geometry", geometry_json(row));
  put(json, "method", row.method);
  put(json, "params", scalars_json(row.params));
  put(json, "device", row.device);
  put(json, "path", row.path);
  put(json, "plan_path", row.plan_path);
  for (const Quantity& one : quantities)
    if (one.field != &ResultRow::value) put(json, one.name, row.*one.field);
  if (row.eval) put(json, *row.eval);
  if (row.sparsity) json["sparsity"] = sparsity_json(*row.sparsity);
  if (row.target) json["target"] = target_json(*row.target);
  put(json, "value", row.value);
  if (row.curve) {
    json["curve"] = {{"knob", numbers(row.curve->knob)},
                     {"density", numbers(row.curve->density)},
                     {"mass_recall", numbers(row.curve->mass_recall)}};
    put(json["curve"], "mass_recall_p05", numbers(row.curve->mass_recall_p05));
    put(json["curve"], "mass_recall_min", numbers(row.curve->mass_recall_min));
    put(json["curve"], "out_rel_l2", numbers(row.curve->out_rel_l2));
  }
  put(json, "time_ns", Json(row.time_ns));
  put(json, "stages_ns", Json(row.stages_ns));
  if (row.stats) {
    json["stats"] = {{"median_ns", row.stats->median_ns}};
    if (row.stats->has_interval())
      json["stats"]["ci95_ns"] = {row.stats->ci95_low_ns, row.stats->ci95_high_ns};
    json["stats"]["n"] = row.stats->n;
  }
  json.update(scalars_json(row.extra));
  const ToolInfo& tool = row.tool ? *row.tool : tool_info();
  if (!tool.version.empty()) json["tool"] = tool_json(tool);
  put(json, "env", scalars_json(row.env));
  put(json, "argv", Json(row.argv));
  json["t"] = row.time.empty() ? utc_now() : row.time;
  return json;
}

std::uint64_t option_hash(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

std::string unit_id(const ResultRow& row, std::span<const std::uint64_t> content) {
  const ToolInfo& tool = tool_info();
  Json identity = {result_schema, row.kind, row.scope};
  for (const std::uint64_t hash : content) identity.push_back(hash);
  identity.push_back(row.layer.value_or(-1));
  identity.push_back(row.head.value_or(-1));
  identity.push_back(geometry_json(row));
  if (row.geometry) {
    for (const double of : {row.geometry->softmax_scale, row.geometry->causal ? 1. : 0.,
                            static_cast<double>(row.geometry->sliding_window)})
      identity.push_back(of);
  }
  identity.push_back(row.method);
  identity.push_back(scalars_json(row.params));
  identity.push_back(row.target ? target_json(*row.target) : Json());
  identity.push_back(row.path);
  for (const std::string& of : {tool.version, tool.git_sha, tool.build}) identity.push_back(of);
  identity.push_back(tool.dirty);
  return fmt::format("{:016x}", option_hash(json_text(identity)));
}

}  // namespace anchor
