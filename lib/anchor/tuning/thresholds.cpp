#include "anchor/tuning/thresholds.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// A named field of the file; a data error if it is missing.
const Json& field(const Json& object, const char* name, const std::string& path) {
  if (!object.is_object() || !object.contains(name)) fail("{}: thresholds file lacks \"{}\"", path, name);
  return object[name];
}

std::string text_field(const Json& object, const char* name, const std::string& path) {
  const Json& value = field(object, name, path);
  if (!value.is_string()) fail("{}: thresholds field \"{}\" is not a string", path, name);
  return value.get<std::string>();
}

std::vector<double> numbers_field(const Json& object, const char* name, const std::string& path) {
  const Json& array = field(object, name, path);
  if (!array.is_array()) fail("{}: thresholds field \"{}\" is not a list", path, name);
  std::vector<double> values;
  for (const Json& item : array) {
    const std::optional<double> value = item.is_null() ? -infinity : number_from_json(item);
    if (!value) fail("{}: thresholds field \"{}\" holds something that is not a number", path, name);
    values.push_back(*value);
  }
  return values;
}

Scalar read_scalar(const Json& value, const std::string& name, const std::string& path) {
  if (const auto number = number_from_json(value)) return *number;
  if (!value.is_string()) fail("{}: parameter \"{}\" is neither a number nor a string", path, name);
  return value.get<std::string>();
}

/// Parameters by head: lists as long as that of the heads.
std::map<std::string, std::vector<Scalar>> read_params(const Json& json, std::size_t heads,
                                                       const std::string& path) {
  std::map<std::string, std::vector<Scalar>> params;
  for (const auto& [name, list] : json.items()) {
    if (!list.is_array() || list.size() != heads)
      fail("{}: parameter \"{}\" of a layer is not a list of one value per head", path, name);
    for (const Json& value : list) params[name].push_back(read_scalar(value, name, path));
  }
  return params;
}

Thresholds::Layer read_layer(const Json& json, const std::string& path) {
  Thresholds::Layer layer;
  const std::optional<double> number = number_from_json(field(json, "layer", path));
  if (!number) fail("{}: thresholds field \"layer\" is not a number", path);
  layer.layer = static_cast<int>(*number);
  for (const double head : numbers_field(json, "heads", path)) layer.heads.push_back(static_cast<int>(head));
  layer.value = numbers_field(json, "value", path);
  if (layer.value.size() != layer.heads.size()) {
    fail("{}: layer {} lists {} heads and {} values", path, layer.layer, layer.heads.size(),
         layer.value.size());
  }
  if (json.contains("params")) layer.params = read_params(json["params"], layer.heads.size(), path);
  if (json.contains("mass_recall")) layer.mass_recall = numbers_field(json, "mass_recall", path);
  if (json.contains("density")) layer.density = numbers_field(json, "density", path);
  return layer;
}

/// Sets a head's own parameters; returns its knob.
double set_head(const Method& of, const Thresholds::Layer& entry, int head, const std::string& path,
                Params& params) {
  const auto it = std::find(entry.heads.begin(), entry.heads.end(), head);
  if (it == entry.heads.end()) fail("{}: has no threshold for layer {} head {}", path, entry.layer, head);
  const auto at = static_cast<std::size_t>(it - entry.heads.begin());
  for (const auto& [name, values] : entry.params) {
    if (std::ranges::find(of.head_params, name) == of.head_params.end())
      fail("{}: {} has no parameter \"{}\" of single heads", path, of.name, name);
    try {
      set_param(of, params, name, scalar_text(values[at]));
    } catch (const Error& error) {
      fail("{}: {}", path, error.what());
    }
  }
  const double knob = entry.value[at];
  const ParamSpec& spec = find_param(of, of.knob);
  // -infinity: what is always kept suffices, whatever the range of a threshold.
  const bool forced_only = knob == -infinity && spec.kind == ParamSpec::Kind::real;
  const std::string wrong = forced_only ? "" : check_value(spec, knob);
  if (!wrong.empty())
    fail("{}: layer {} head {}: {}.{} = {}: {}", path, entry.layer, head, of.name, of.knob,
         format_number(knob), wrong);
  return knob;
}

}  // namespace

const Thresholds::Layer& Thresholds::entry_of(int layer, const std::string& path) const {
  const auto entry =
      std::find_if(layers.begin(), layers.end(), [&](const Layer& each) { return each.layer == layer; });
  if (entry == layers.end()) fail("{}: has no thresholds for layer {}", path, layer);
  return *entry;
}

void Thresholds::check(const Method& of, int layer, std::span<const int> asked,
                       const std::string& path) const {
  const Layer& entry = entry_of(layer, path);
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

Thresholds read_thresholds(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("{}: cannot read: {}", path, std::strerror(errno));
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || json.value("format", Json()) != "anchor-thresholds") {
    fail("{}: not a thresholds file (JSON with \"format\": \"anchor-thresholds\")", path);
  }
  const std::string version = text_field(json, "format_version", path);
  if (!version.starts_with("1."))
    fail("{}: thresholds format_version {} is not supported (this tool reads 1.x)", path, version);

  Thresholds thresholds;
  thresholds.method = text_field(json, "method", path);
  thresholds.knob = text_field(json, "knob", path);
  for (const auto& [name, value] : field(json, "params", path).items()) {
    thresholds.params[name] = read_scalar(value, name, path);
  }
  if (json.contains("model") && json["model"].is_string())
    thresholds.model = json["model"].get<std::string>();
  if (json.contains("target")) {
    const Json& target = json["target"];
    thresholds.target = {text_field(target, "metric", path), text_field(target, "statistic", path),
                         number_from_json(field(target, "value", path)).value_or(0)};
  }
  if (json.contains("calibrated_on") && json["calibrated_on"].is_array()) {
    for (const Json& name : json["calibrated_on"]) {
      if (name.is_string()) thresholds.calibrated_on.push_back(name.get<std::string>());
    }
  }
  const Json& layers = field(json, "layers", path);
  if (!layers.is_array()) fail("{}: thresholds field \"layers\" is not a list", path);
  for (const Json& layer : layers) thresholds.layers.push_back(read_layer(layer, path));
  return thresholds;
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
    for (const auto& [name, list] : layer.params) {
      for (const Scalar& value : list) json["layers"].back()["params"][name].push_back(scalar_json(value));
    }
  }
  const ToolInfo& tool = tool_info();
  json["provenance"] = {{"version", tool.version},
                        {"git_sha", tool.git_sha},
                        {"dirty", tool.dirty},
                        {"created_utc", utc_now()}};
  return json.dump(1) + "\n";
}

}  // namespace anchor
