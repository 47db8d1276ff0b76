#include "anchor/data/dump_places.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>

#include "anchor/base/error.hpp"
#include "anchor/data/checksum.hpp"
#include "anchor/data/hdf5/object_header.hpp"

namespace anchor {
namespace {

using h5::NewObject;

h5::Element element_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return h5::Element::f32;
    case DType::f16:
      return h5::Element::f16;
    case DType::bf16:
      return h5::Element::bf16;
  }
  fail("unknown element type");
}

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

NewObject root_of(const DumpPlan& plan) {
  const DumpHeader& header = plan.header;
  const bool rotations =
      std::ranges::any_of(plan.layers, [](const LayerInfo& info) { return info.rope.has_value(); });
  NewObject root{"/", {}, h5::Element::other, {}, {}};
  root.attributes = {{"format", std::string("anchor-qkv")},
                     {"format_version", std::string(rotations ? "1.1" : "1.0")},
                     {"model", header.model},
                     {"seq_len", header.seq_len},
                     {"created_utc", utc_now()},
                     {"tool", header.tool},
                     {"tool_version", header.tool_version}};
  for (const auto& [name, value] : header.text) root.attributes.push_back({name, value});
  if (header.seed) root.attributes.push_back({"seed", *header.seed});
  root.attributes.push_back({"request_xxh3_64", request_hash(plan)});
  root.attributes.push_back({"complete", std::uint8_t{0}});
  return root;
}

NewObject group_of(const LayerInfo& info, const std::string& path) {
  NewObject group{path, {}, h5::Element::other, {}, {}};
  group.attributes = {{"layer", std::int64_t{info.layer}},
                      {"softmax_scale", info.geometry.softmax_scale},
                      {"causal", static_cast<std::uint8_t>(info.geometry.causal)},
                      {"q_start", info.geometry.q_start},
                      {"sliding_window", info.geometry.sliding_window},
                      {"rope_applied", static_cast<std::uint8_t>(info.rope_applied)}};
  if (info.softcap != 0) group.attributes.push_back({"softcap", info.softcap});
  if (info.rope) {
    group.attributes.push_back({"rope_attention_factor", info.rope->attention_factor});
    group.attributes.push_back({"rope_layout", std::string("half")});
  }
  for (const auto& [name, value] : info.text) group.attributes.push_back({name, value});
  group.attributes.push_back({"complete", std::uint8_t{0}});
  return group;
}

void add(Checksum& checksum, std::string_view text) {
  const std::uint64_t size = text.size();
  checksum.add(std::as_bytes(std::span(&size, 1)));
  checksum.add(std::as_bytes(std::span(text)));
}

// Everything of a layer but its tensors, in words that differ where the layers do.
std::string text_of(const LayerInfo& info) {
  const Geometry& g = info.geometry;
  std::string text = fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {} {}", info.layer, g.q_heads,
                                 g.kv_heads, g.q_len, g.kv_len, g.q_start, g.head_dim, g.softmax_scale,
                                 g.causal, g.sliding_window, name_of(info.dtype), info.rope_applied,
                                 name_of(info.ref_dtype), info.has_ref_out, info.has_ref_lse);
  if (info.softcap != 0) text += fmt::format(" softcap {}", info.softcap);
  if (info.rope)
    text += fmt::format(" rope {} {}", info.rope->attention_factor, fmt::join(info.rope->inv_freq, ","));
  for (const auto& [name, value] : info.text) text += fmt::format("\n{}\n{}", name, value);
  return text;
}

[[noreturn]] void fail_to_resume(const std::string& file, const std::string& what) {
  fail("{} cannot be resumed: {}; delete it or leave out --resume", file, what);
}

void require_same(const std::string& file, const std::string& what, const std::string& there,
                  const std::string& wanted) {
  if (there != wanted)
    fail_to_resume(file, fmt::format("it was made with {} {:?}, not {:?}", what, there, wanted));
}

std::vector<int> numbers_of(const std::vector<LayerInfo>& layers) {
  std::vector<int> numbers;
  for (const LayerInfo& info : layers) numbers.push_back(info.layer);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

// The file's layers, finished or not, with the places of their values.
struct Found {
  std::vector<LayerInfo> infos;
  DumpPlaces places;
};

std::int64_t value_place(const h5::File& file, const h5::Node& object, const char* attribute,
                         std::uint64_t bytes) {
  const auto place = h5::find_value(file.descriptor(), object.address, attribute, bytes, object.name);
  if (!place) fail_to_resume(file.name(), "another program or an older version made it");
  return *place;
}

LayerPlaces layer_places(const h5::File& file, const h5::Node& layer, const LayerInfo& info) {
  LayerPlaces places;
  for (const Part part : parts_of(info)) {
    const h5::Node& dataset = layer.dataset(std::string(name_of(part)));
    if (!dataset.layout.offset)
      fail_to_resume(file.name(), fmt::format("{} is not contiguous", dataset.name));
    places.tensors[part] = {*dataset.layout.offset, value_place(file, dataset, "xxh3_64", 8)};
  }
  places.complete = value_place(file, layer, "complete", 1);
  places.is_complete = layer.integer("complete").value_or(0) != 0;
  return places;
}

Found find_layers(const h5::File& file) {
  Found found;
  found.places.complete = value_place(file, file.describe("/"), "complete", 1);
  const h5::Node layers = file.describe("layers");
  for (const auto& [name, unseen] : layers.require(h5::Node::Kind::group).children) {
    const h5::Node layer = file.describe("layers/" + name, 2);
    layer.require(h5::Node::Kind::group);
    found.infos.push_back(read_layer_info(file, layer, name));
    found.places.layers[found.infos.back().layer] = layer_places(file, layer, found.infos.back());
  }
  return found;
}

}  // namespace

std::vector<NewObject> objects_of(const DumpPlan& plan) {
  std::vector<NewObject> objects{root_of(plan)};
  if (!plan.input_ids.empty()) {
    const auto bytes = std::as_bytes(std::span(plan.input_ids));
    objects.push_back({"input_ids",
                       {},
                       h5::Element::i32,
                       {static_cast<std::int64_t>(plan.input_ids.size())},
                       {bytes.begin(), bytes.end()}});
  }
  objects.push_back({"layers", {}, h5::Element::other, {}, {}});
  for (const LayerInfo& info : plan.layers) {
    const std::string path = "layers/" + layer_name(info.layer);
    objects.push_back(group_of(info, path));
    if (info.rope) {
      const auto bytes = std::as_bytes(std::span(info.rope->inv_freq));
      objects.push_back({path + "/rope_inv_freq",
                         {},
                         h5::Element::f32,
                         {static_cast<std::int64_t>(info.rope->inv_freq.size())},
                         {bytes.begin(), bytes.end()}});
    }
    if (info.has_ref_out || info.has_ref_lse)
      objects.push_back({path + "/ref", {}, h5::Element::other, {}, {}});
    for (const Part part : parts_of(info)) {
      const auto shape = shape_of(info, part);
      objects.push_back({fmt::format("{}/{}", path, name_of(part)),
                         {{"xxh3_64", std::uint64_t{0}}},
                         element_of(dtype_of(info, part)),
                         {shape.begin(), shape.begin() + rank_of(part)},
                         {}});
    }
  }
  return objects;
}

std::uint64_t request_hash(const DumpPlan& plan) {
  const DumpHeader& header = plan.header;
  Checksum checksum;
  for (const std::string& text :
       {header.model, header.tool, header.tool_version, header.request, std::to_string(header.seq_len),
        header.seed ? std::to_string(*header.seed) : std::string("none")}) {
    add(checksum, text);
  }
  for (const auto& [name, value] : header.text) {
    add(checksum, name);
    add(checksum, value);
  }
  for (const LayerInfo& info : plan.layers) add(checksum, text_of(info));
  checksum.add(std::as_bytes(std::span(plan.input_ids)));
  return checksum.value();
}

void require_same_request(const std::string& name, const DumpPlan& plan, const DumpHeader& there,
                          const std::vector<LayerInfo>& layers, const std::vector<std::int32_t>& input_ids) {
  const DumpHeader& header = plan.header;
  require_same(name, "model", there.model, header.model);
  require_same(name, "seq_len", std::to_string(there.seq_len), std::to_string(header.seq_len));
  require_same(name, "tool", there.tool + " " + there.tool_version, header.tool + " " + header.tool_version);
  const auto seed_text = [](const DumpHeader& h) {
    return h.seed ? std::to_string(*h.seed) : std::string("none");
  };
  require_same(name, "seed", seed_text(there), seed_text(header));
  for (const char* key : optional_text) {
    const auto value = [&](const DumpHeader& h) {
      const auto found = h.text.find(key);
      return found == h.text.end() ? std::string() : found->second;
    };
    require_same(name, key, value(there), value(header));
  }
  if (input_ids != plan.input_ids) fail_to_resume(name, "its text is another one");
  require_same(name, "layers", fmt::format("{}", fmt::join(numbers_of(layers), ", ")),
               fmt::format("{}", fmt::join(numbers_of(plan.layers), ", ")));
  for (const LayerInfo& info : plan.layers) {
    const auto same = [&](const LayerInfo& other) { return text_of(other) == text_of(info); };
    if (std::none_of(layers.begin(), layers.end(), same))
      fail_to_resume(name, fmt::format("its layer {} has another shape, type or content", info.layer));
  }
  if (there.request_hash && *there.request_hash != request_hash(plan))
    fail_to_resume(name, "it was made by another request: parameters or input files differ");
}

DumpPlaces find_places(const h5::File& file, const DumpPlan& plan) {
  const h5::Node root = file.describe("/");
  const DumpHeader header = read_header(root.require(h5::Node::Kind::group));
  std::vector<std::int32_t> ids;
  if (root.has("input_ids")) ids = read_input_ids(file, file.describe("input_ids"));
  Found found = find_layers(file);
  require_same_request(file.name(), plan, header, found.infos, ids);
  return std::move(found.places);
}

}  // namespace anchor
