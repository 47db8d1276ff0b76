#include "anchor/data/layer_rotation.hpp"

#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

using Json = nlohmann::json;

Rotation read_stored(const h5::File& file, const h5::Node& layer, const h5::Node& dataset,
                     const LayerInfo& info) {
  dataset.require(h5::Node::Kind::dataset);
  const auto& shape = dataset.layout.shape;
  const std::int64_t most = info.geometry.head_dim / 2;
  if (shape.size() != 1 || shape[0] < 1 || shape[0] > most || dataset.layout.element != h5::Element::f32)
    fail("{}: must be f32 with one axis of 1 to {} frequencies", dataset.name, most);
  if (const auto layout = layer.text("rope_layout"); layout && *layout != "half")
    fail("{}: attribute rope_layout is {:?}; only \"half\" is known", layer.name, *layout);
  file.require_stored(dataset);
  Rotation made;
  made.inv_freq.resize(static_cast<std::size_t>(shape[0]));
  const auto bytes = std::as_writable_bytes(std::span(made.inv_freq));
  const std::int64_t start = 0;
  if (dataset.layout.offset) {
    h5::read_range(file.descriptor(), *dataset.layout.offset, bytes, dataset.name);
  } else {
    file.read(dataset, {&start, 1}, shape, bytes);
  }
  made.attention_factor = layer.real("rope_attention_factor").value_or(1);
  for (const float frequency : made.inv_freq)
    if (!std::isfinite(frequency)) fail("{}: a frequency is not finite", dataset.name);
  if (!std::isfinite(made.attention_factor) || made.attention_factor <= 0)
    fail("{}: attribute rope_attention_factor is {}, it must be positive", layer.name, made.attention_factor);
  return made;
}

double number_of(const Json& json, const char* field, double otherwise) {
  const auto found = json.find(field);
  if (found == json.end()) return otherwise;
  if (!found->is_number()) fail("field {} is not a number", field);
  return found->get<double>();
}

}  // namespace

Rotation rotation_from_json(const std::string& rope_json, int head_dim) {
  const Json json = Json::parse(rope_json, nullptr, false);
  if (!json.is_object()) fail("not a JSON object");
  const auto type = json.find("rope_type");
  const std::string kind = type != json.end() && type->is_string() ? type->get<std::string>() : "missing";
  if (kind != "default" && kind != "linear") fail("field rope_type is {}", kind);
  if (json.contains("frequency_divisors")) fail("field frequency_divisors is there");
  const double theta = number_of(json, "rope_theta", 0), factor = number_of(json, "factor", 1);
  if (!(theta > 0) || !std::isfinite(theta)) fail("field rope_theta is missing or not positive");
  if (kind == "linear" && !(factor >= 1)) fail("field factor is {}", factor);
  const double share = number_of(json, "partial_rotary_factor", 1);
  const auto dims = static_cast<std::int64_t>(share * head_dim);
  if (!(share > 0 && share <= 1) || dims < 2 || dims % 2 != 0)
    fail("field partial_rotary_factor is {}", share);
  Rotation made;
  for (std::int64_t i = 0; i < dims / 2; ++i) {
    const double turn = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(dims));
    made.inv_freq.push_back(static_cast<float>(kind == "linear" ? turn / factor : turn));
  }
  return made;
}

std::shared_ptr<const Rotation> layer_rotation(const h5::File& file, const h5::Node& layer,
                                               const DumpHeader& header, const LayerInfo& info) {
  if (!info.rope_applied || info.text.contains("truth_json")) return nullptr;
  const auto made = std::make_shared<Rotation>();
  try {
    if (layer.has("rope_inv_freq")) {
      *made = read_stored(file, layer, layer.dataset("rope_inv_freq"), info);
      return made;
    }
    const auto json = header.text.find("rope_json");
    if (json == header.text.end()) {
      made->unknown = fmt::format(
          "{}: rope_inv_freq is missing, and the dump has no rope_json: the rotary frequencies are "
          "not known",
          layer.name);
      return made;
    }
    *made = rotation_from_json(json->second, info.geometry.head_dim);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    made->unknown = layer.has("rope_inv_freq")
                        ? std::string(error.what())
                        : fmt::format("{}: rope_inv_freq is missing, and rope_json does not give it: {}",
                                      layer.name, error.what());
  }
  return made;
}

}  // namespace anchor
