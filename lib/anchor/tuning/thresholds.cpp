#include "anchor/tuning/thresholds.hpp"

#include <algorithm>
#include <limits>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Sets a head's own parameters; returns its knob.
double set_head(const Method& of, const Thresholds::Layer& entry, int head, const std::string& path,
                Params& params) {
  const auto it = std::find(entry.heads.begin(), entry.heads.end(), head);
  if (it == entry.heads.end()) fail("{}: has no threshold for layer {} head {}", path, entry.layer, head);
  const auto at = static_cast<std::size_t>(it - entry.heads.begin());
  for (const auto& [name, values] : entry.params) {
    if (std::ranges::find(of.head_params, name) == of.head_params.end())
      fail("{}: {} has no parameter \"{}\" of single heads", path, of.name, name);
    set_param(of, params, name, scalar_text(values[at]));
  }
  const double knob = entry.value[at];
  if (const std::string wrong = check_threshold(of, knob); !wrong.empty())
    fail("{}: layer {} head {}: {}.{} = {}: {}", path, entry.layer, head, of.name, of.knob,
         format_number(knob), wrong);
  return knob;
}

}  // namespace

std::string check_threshold(const Method& of, double value) {
  const ParamSpec& spec = find_param(of, of.knob);
  const bool forced_only = of.granularity && spec.kind == ParamSpec::Kind::real &&
                           value == (of.knob_descends ? infinity : -infinity);
  return forced_only ? "" : check_value(spec, value);
}

const Thresholds::Layer& Thresholds::entry_of(int layer, const std::string& path) const {
  const auto entry =
      std::find_if(layers.begin(), layers.end(), [&](const Layer& each) { return each.layer == layer; });
  if (entry == layers.end()) fail("{}: has no thresholds for layer {}", path, layer);
  return *entry;
}

void Thresholds::check(const Method& of, int layer, const Geometry& shape, std::span<const int> asked,
                       const std::string& path) const {
  const Layer& entry = entry_of(layer, path);
  const HeadShape own{shape.q_heads, shape.kv_heads, shape.head_dim};
  if (entry.shape && *entry.shape != own) {
    fail("{}: its thresholds of layer {} are for {}/{} heads of dimension {}, not for {}/{} of dimension {}",
         path, layer, entry.shape->q_heads, entry.shape->kv_heads, entry.shape->head_dim, own.q_heads,
         own.kv_heads, own.head_dim);
  }
  Params unused = default_params(of);
  for (const int head : asked) set_head(of, entry, head, path, unused);
}

void Thresholds::apply(const Method& of, int layer, std::span<const int> asked, const std::string& path,
                       PlanRequest& request) const {
  const Layer& entry = entry_of(layer, path);
  request.knobs.assign(asked.size(), request.params.real(knob));
  if (!entry.params.empty()) request.head_params.assign(asked.size(), request.params);
  Params unused = request.params;
  for (std::size_t n = 0; n < asked.size(); ++n) {
    if (asked[n] < 0) continue;
    request.knobs[n] =
        set_head(of, entry, asked[n], path, entry.params.empty() ? unused : request.head_params[n]);
  }
}

Thresholds make_thresholds(const MethodRun& run, const std::string& model, const Target& target,
                           const std::vector<std::string>& calibrated_on, std::span<const ChosenHead> heads) {
  Thresholds made;
  made.method = run.method->name;
  made.knob = run.method->knob;
  made.params = fixed_params(run);
  made.model = model;
  made.target = target;
  made.calibrated_on = calibrated_on;
  std::map<int, Thresholds::Layer> layers;
  for (const ChosenHead& head : heads) {
    Thresholds::Layer& layer = layers[head.layer];
    layer.layer = head.layer;
    layer.heads.push_back(head.head);
    layer.value.push_back(head.at.knob);
    layer.mass_recall.push_back(head.at.mass_recall);
    layer.density.push_back(head.at.density);
    for (const auto& [name, value] : head.params) layer.params[name].push_back(value);
  }
  for (auto& [number, layer] : layers) made.layers.push_back(std::move(layer));
  return made;
}

void set_shapes(Thresholds& thresholds, const DumpReader& reader) {
  for (Thresholds::Layer& layer : thresholds.layers) {
    const Geometry& g = reader.layer(layer.layer).geometry;
    layer.shape = {g.q_heads, g.kv_heads, g.head_dim};
  }
}

std::string thresholds_text(const Thresholds& thresholds) {
  Json json;
  json["format"] = "anchor-thresholds";
  const bool by_head =
      std::ranges::any_of(thresholds.layers, [](const auto& each) { return !each.params.empty(); });
  json["format_version"] = by_head ? "1.1" : "1.0";  // 1.0 wherever an older reader understands all of it
  json["method"] = thresholds.method;
  json["knob"] = thresholds.knob;
  json["params"] = scalars_json(thresholds.params);
  if (!thresholds.model.empty()) json["model"] = thresholds.model;
  json["target"] = target_json(thresholds.target);
  json["calibrated_on"] = thresholds.calibrated_on;
  json["layers"] = Json::array();
  for (const Thresholds::Layer& layer : thresholds.layers) {
    Json values = Json::array();
    for (const double value : layer.value) values.push_back(value == -infinity ? Json() : json_number(value));
    json["layers"].push_back({{"layer", layer.layer},
                              {"heads", layer.heads},
                              {"value", std::move(values)},
                              {"mass_recall", layer.mass_recall},
                              {"density", layer.density}});
    if (layer.shape) {
      json["layers"].back()["q_heads"] = layer.shape->q_heads;
      json["layers"].back()["kv_heads"] = layer.shape->kv_heads;
      json["layers"].back()["head_dim"] = layer.shape->head_dim;
    }
    for (const auto& [name, list] : layer.params) {
      for (const Scalar& value : list) json["layers"].back()["params"][name].push_back(scalar_json(value));
    }
  }
  const ToolInfo& tool = tool_info();
  json["provenance"] = {{"version", tool.version},
                        {"git_sha", tool.git_sha},
                        {"dirty", tool.dirty},
                        {"created_utc", utc_now()}};
  return json_text(json, 1) + "\n";
}

}  // namespace anchor
