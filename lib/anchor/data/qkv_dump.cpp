#include "anchor/data/qkv_dump.hpp"

#include <charconv>
#include <span>

#include "anchor/base/error.hpp"
#include "anchor/data/layer_rules.hpp"

namespace anchor {
namespace {

template <class T>
T required(std::optional<T> value, const h5::Node& object, const char* attribute) {
  if (!value) fail("{}: attribute {} is missing", object.name, attribute);
  return std::move(*value);
}

TensorForm form_of(const h5::Node& dataset) {
  return {dataset.name, dataset.layout.shape, dtype_of(dataset)};
}

void check_form(const h5::Node& dataset, const LayerInfo& info, Part part) {
  const auto wanted = shape_of(info, part);
  const std::vector<std::int64_t> shape(wanted.begin(), wanted.begin() + rank_of(part));
  if (dataset.layout.shape != shape) {
    fail("{}: shape [{}] must be [{}]", dataset.name, fmt::join(dataset.layout.shape, ", "),
         fmt::join(shape, ", "));
  }
  if (dtype_of(dataset) != dtype_of(info, part)) {
    fail("{}: type {} must be {}", dataset.name, name_of(dtype_of(dataset)), name_of(dtype_of(info, part)));
  }
}

void check_version(const h5::Node& root) {
  const std::string version = required(root.text("format_version"), root, "format_version");
  int major = 0;
  const auto parsed = std::from_chars(version.data(), version.data() + version.size(), major);
  if (parsed.ec != std::errc() || major != 1) {
    fail("{}: format_version is {:?}, this build reads 1.x", root.name, version);
  }
}

}  // namespace

std::string_view name_of(Part part) {
  switch (part) {
    case Part::q:
      return "q";
    case Part::k:
      return "k";
    case Part::v:
      return "v";
    case Part::ref_out:
      return "ref/out";
    case Part::ref_lse:
      return "ref/lse";
  }
  return "?";
}

std::array<std::int64_t, 3> shape_of(const LayerInfo& info, Part part) {
  const Geometry& g = info.geometry;
  switch (part) {
    case Part::k:
    case Part::v:
      return {g.kv_heads, g.kv_len, g.head_dim};
    case Part::ref_lse:
      return {g.q_heads, g.q_len, 1};
    case Part::q:
    case Part::ref_out:
      break;
  }
  return {g.q_heads, g.q_len, g.head_dim};
}

DType dtype_of(const LayerInfo& info, Part part) {
  if (part == Part::ref_lse) return DType::f32;
  return part == Part::ref_out ? info.ref_dtype : info.dtype;
}

std::size_t rank_of(Part part) { return part == Part::ref_lse ? 2 : 3; }

std::vector<Part> parts_of(const LayerInfo& info) {
  std::vector<Part> parts{Part::q, Part::k, Part::v};
  if (info.has_ref_out) parts.push_back(Part::ref_out);
  if (info.has_ref_lse) parts.push_back(Part::ref_lse);
  return parts;
}

std::string layer_name(int layer) { return fmt::format("{:03}", layer); }

DumpHeader read_header(const h5::Node& root) {
  const auto format = root.text("format");
  if (format != "anchor-qkv") {
    fail("{}: not a dump: attribute format is {}, not \"anchor-qkv\"", root.name,
         format ? fmt::format("\"{}\"", *format) : "missing");
  }
  check_version(root);
  DumpHeader header;
  header.model = required(root.text("model"), root, "model");
  header.seq_len = required(root.integer("seq_len"), root, "seq_len");
  header.tool = required(root.text("tool"), root, "tool");
  header.tool_version = required(root.text("tool_version"), root, "tool_version");
  header.created_utc = required(root.text("created_utc"), root, "created_utc");
  for (const char* name : optional_text) {
    if (auto value = root.text(name)) header.text[name] = std::move(*value);
  }
  header.seed = root.integer("seed");
  header.request_hash = root.unsigned_integer("request_xxh3_64");
  return header;
}

namespace {

/// The values of a dataset with one axis, as they are stored.
template <class T>
std::vector<T> read_values(const h5::File& file, const h5::Node& dataset, h5::Element element,
                           std::string_view type, std::int64_t most) {
  dataset.require(h5::Node::Kind::dataset);
  const h5::DatasetLayout& layout = dataset.layout;
  if (layout.shape.size() != 1 || layout.element != element)
    fail("{}: must be {} with one axis", dataset.name, type);
  if (layout.shape[0] == 0) return {};
  if (layout.shape[0] > most) fail("{}: {} values are too many", dataset.name, layout.shape[0]);
  file.require_stored(dataset);
  std::vector<T> values(static_cast<std::size_t>(layout.shape[0]));
  const auto bytes = std::as_writable_bytes(std::span(values));
  const std::int64_t start = 0;
  if (layout.offset) {
    h5::read_range(file.descriptor(), *layout.offset, bytes, dataset.name);
  } else {
    file.read(dataset, {&start, 1}, layout.shape, bytes);
  }
  return values;
}

std::optional<DumpRope> read_rope(const h5::File& file, const h5::Node& layer) {
  if (!layer.has("rope_inv_freq")) return {};
  const std::string layout = layer.text("rope_layout").value_or("half");
  if (layout != "half") fail("{}: rope_layout is {:?}, only \"half\" is known", layer.name, layout);
  return DumpRope{
      read_values<float>(file, layer.dataset("rope_inv_freq"), h5::Element::f32, "f32", most_head_dim),
      layer.real("rope_attention_factor").value_or(1)};
}

}  // namespace

std::vector<std::int32_t> read_input_ids(const h5::File& file, const h5::Node& dataset) {
  return read_values<std::int32_t>(file, dataset, h5::Element::i32, "int32", most_tokens);
}

DType dtype_of(const h5::Node& dataset) {
  switch (dataset.layout.element) {
    case h5::Element::f32:
      return DType::f32;
    case h5::Element::f16:
      return DType::f16;
    case h5::Element::bf16:
      return DType::bf16;
    case h5::Element::u16:
      if (dataset.text("dtype") == "bfloat16") return DType::bf16;
      fail("{}: uint16 needs the attribute dtype = \"bfloat16\"", dataset.name);
    default:
      fail("{}: {} is none of f32, f16, bf16 (little-endian)", dataset.name, dataset.layout.type_text);
  }
}

LayerInfo read_layer_info(const h5::File& file, const h5::Node& layer, const std::string& name) {
  LayerInfo info;
  set_shape(info, form_of(layer.dataset("q")), form_of(layer.dataset("k")), form_of(layer.dataset("v")));
  const std::int64_t number = required(layer.integer("layer"), layer, "layer");
  if (number < 0 || number > 999999 || layer_name(static_cast<int>(number)) != name) {
    fail("{}: attribute layer is {}, the group's name says otherwise", layer.name, number);
  }
  info.layer = static_cast<int>(number);
  Geometry& g = info.geometry;
  g.q_start = layer.integer("q_start").value_or(g.q_start);
  g.softmax_scale = required(layer.real("softmax_scale"), layer, "softmax_scale");
  g.causal = required(layer.integer("causal"), layer, "causal") != 0;
  g.sliding_window = layer.integer("sliding_window").value_or(0);
  info.rope_applied = layer.integer("rope_applied").value_or(1) != 0;
  info.softcap = layer.real("softcap").value_or(0);
  info.has_sink_logits = layer.has("sink_logits");
  info.rope = read_rope(file, layer);
  if (auto truth = layer.text("truth_json")) info.text["truth_json"] = std::move(*truth);
  require_valid(info, layer.name);

  info.has_ref_out = layer.has("ref/out");
  info.has_ref_lse = layer.has("ref/lse");
  if (info.has_ref_out) info.ref_dtype = dtype_of(layer.dataset("ref/out"));
  for (const Part part : parts_of(info)) {
    const h5::Node& dataset = layer.dataset(std::string(name_of(part)));
    check_form(dataset, info, part);
    file.require_stored(dataset);
  }
  return info;
}

}  // namespace anchor
