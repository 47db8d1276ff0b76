#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/base/text_file.hpp"
#include "anchor/rows/json_fields.hpp"
#include "anchor/tuning/thresholds.hpp"

namespace anchor {
namespace {

constexpr NumberRange index{0, 999'999};
constexpr NumberRange count{1, 1e6};

/// What a method says of a value that it refuses, as the fault of a field.
template <class Use>
void blame(const JsonFields& fields, const std::string& field, Use use) {
  try {
    use();
  } catch (const Error& error) {
    fields.wrong(field, fmt::format("is wrong: {}", error.what()));
  }
}

/// A knob by the method's own range.
double read_knob(const JsonFields& fields, const Json& json, const Method& of, const std::string& field) {
  const double knob =
      json.is_null() ? -std::numeric_limits<double>::infinity() : fields.number_of(json, field);
  if (std::isnan(knob)) fields.wrong(field, "is not a number");
  if (const std::string wrong = check_threshold(of, knob); !wrong.empty())
    fields.wrong(field,
                 fmt::format("is wrong: {}.{} = {}: {}", of.name, of.knob, format_number(knob), wrong));
  return knob;
}

/// Parameters by head: lists as long as that of the heads.
void read_head_params(JsonFields params, const Method& of, Thresholds::Layer& layer) {
  params.rest([&](const std::string& name, const Json& list) {
    if (std::ranges::find(of.head_params, name) == of.head_params.end())
      params.wrong(name, fmt::format("is no parameter that {} has for single heads", of.name));
    if (params.list_of(list, name).size() != layer.heads.size())
      params.wrong(name, fmt::format("lists {} values for {} heads", list.size(), layer.heads.size()));
    for (const Json& value : list) {
      layer.params[name].push_back(params.scalar_of(value, name));
      blame(params, name, [&] {
        Params unused = default_params(of);
        set_param(of, unused, name, scalar_text(layer.params[name].back()));
      });
    }
  });
}

void read_shape(JsonFields& fields, Thresholds::Layer& layer) {
  if (fields.find("head_dim") == nullptr) return;
  layer.shape = {static_cast<int>(fields.need_integer("q_heads", count)),
                 static_cast<int>(fields.need_integer("kv_heads", count)),
                 static_cast<int>(fields.need_integer("head_dim", count))};
}

Thresholds::Layer read_layer(JsonFields fields, const Method& of) {
  Thresholds::Layer layer;
  layer.layer = static_cast<int>(fields.need_integer("layer", index));
  std::set<int> seen;
  for (const Json& head : fields.list_of(fields.need("heads"), "heads")) {
    layer.heads.push_back(static_cast<int>(fields.integer_of(head, "heads", index)));
    if (!seen.insert(layer.heads.back()).second)
      fields.wrong("heads", fmt::format("lists head {} twice", layer.heads.back()));
  }
  for (const Json& value : fields.list_of(fields.need("value"), "value"))
    layer.value.push_back(read_knob(fields, value, of, "value"));
  fields.numbers("mass_recall", layer.mass_recall, {0, 1 + 1e-6});
  fields.numbers("density", layer.density, {0, 1 + 1e-6});
  const auto check_length = [&](const char* name, std::size_t length, bool needed) {
    if (length != layer.heads.size() && (needed || length > 0))
      fields.wrong(name, fmt::format("lists {} values for {} heads", length, layer.heads.size()));
  };
  check_length("value", layer.value.size(), true);
  check_length("mass_recall", layer.mass_recall.size(), false);
  check_length("density", layer.density.size(), false);
  if (auto params = fields.object("params")) read_head_params(std::move(*params), of, layer);
  read_shape(fields, layer);
  return layer;
}

const Method& read_method(JsonFields& fields, Thresholds& thresholds) {
  thresholds.method = fields.need_text("method");
  thresholds.knob = fields.need_text("knob");
  const Method* method = nullptr;
  blame(fields, "method", [&] { method = &find_method(thresholds.method); });
  if (method->knob.empty() || method->knob != thresholds.knob)
    fields.wrong("knob",
                 fmt::format("is \"{}\"; that of {} is \"{}\"", thresholds.knob, method->name, method->knob));
  fields.need("params");
  fields.scalars("params", thresholds.params);
  blame(fields, "params", [&] {
    Params unused = default_params(*method);
    for (const auto& [name, value] : thresholds.params) set_param(*method, unused, name, scalar_text(value));
  });
  return *method;
}

}  // namespace

Thresholds read_thresholds(const std::string& path) {
  const std::optional<Json> json = parse_json(read_text_file(path));
  const auto format = json && json->is_object() ? json->find("format") : Json::const_iterator();
  if (!json || !json->is_object() || format == json->end() || *format != "anchor-thresholds")
    fail("{}: not a thresholds file (JSON with \"format\": \"anchor-thresholds\")", path);
  JsonFields fields(*json, path);
  const std::string version = fields.need_text("format_version");
  if (!version.starts_with("1."))
    fail("{}: thresholds format_version {} is not supported (this tool reads 1.x)", path, version);

  Thresholds thresholds;
  const Method& method = read_method(fields, thresholds);
  fields.text("model", thresholds.model);
  if (auto target = fields.object("target"))
    thresholds.target = {target->need_text("metric"), target->need_text("statistic"),
                         target->need_number("value")};
  fields.texts("calibrated_on", thresholds.calibrated_on);
  std::set<int> seen;
  for (JsonFields& layer : fields.need_objects("layers")) {
    thresholds.layers.push_back(read_layer(std::move(layer), method));
    if (!seen.insert(thresholds.layers.back().layer).second)
      fields.wrong("layers", fmt::format("lists layer {} twice", thresholds.layers.back().layer));
  }
  return thresholds;
}

}  // namespace anchor
