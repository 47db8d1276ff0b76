#include "anchor/data/qkv_dump.hpp"

#include <charconv>
#include <cmath>
#include <limits>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

template <class T>
T required(std::optional<T> value, const h5::Object& object, const char* attribute) {
  if (!value) fail("{}: attribute {} is missing", object.name(), attribute);
  return std::move(*value);
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

h5::Dataset open_tensor(const h5::Group& layer, Part part) {
  h5::Dataset dataset = layer.dataset(std::string(name_of(part)));
  const auto& shape = dataset.shape();
  if (shape.size() != 3) {
    fail("{}: shape {} must have three axes: head, token, dim", dataset.name(), shape_text(shape));
  }
  for (const std::int64_t extent : shape) {
    if (extent < 1) fail("{}: shape {} has an empty axis", dataset.name(), shape_text(shape));
  }
  if (shape[0] > std::numeric_limits<int>::max() || shape[2] > std::numeric_limits<int>::max()) {
    fail("{}: shape {} is not one of heads", dataset.name(), shape_text(shape));
  }
  if (dataset.stored_bytes() == 0) fail("{}: nothing was ever written to it", dataset.name());
  return dataset;
}

void check_version(const h5::File& file) {
  const std::string version = required(file.text("format_version"), file, "format_version");
  int major = 0;
  const auto parsed = std::from_chars(version.data(), version.data() + version.size(), major);
  if (parsed.ec != std::errc() || major != 1) {
    fail("{}: format_version is {:?}, this build reads 1.x", file.name(), version);
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

std::string layer_name(int layer) { return fmt::format("{:03}", layer); }

DumpHeader read_header(const h5::File& file) {
  const auto format = file.text("format");
  if (format != "anchor-qkv") {
    fail("{}: not a dump: attribute format is {}, not \"anchor-qkv\"", file.name(),
         format ? fmt::format("\"{}\"", *format) : "missing");
  }
  check_version(file);
  DumpHeader header;
  header.model = required(file.text("model"), file, "model");
  header.seq_len = required(file.integer("seq_len"), file, "seq_len");
  header.tool = required(file.text("tool"), file, "tool");
  header.tool_version = required(file.text("tool_version"), file, "tool_version");
  header.created_utc = required(file.text("created_utc"), file, "created_utc");
  for (const char* name : optional_text) {
    if (auto value = file.text(name)) header.text[name] = std::move(*value);
  }
  header.seed = file.integer("seed");
  return header;
}

std::vector<std::int32_t> read_input_ids(const h5::File& file) {
  if (!file.has("input_ids")) return {};
  const h5::Dataset dataset = file.dataset("input_ids");
  if (dataset.shape().size() != 1 || dataset.element() != h5::Element::i32) {
    fail("{}: must be int32 with one axis", dataset.name());
  }
  std::vector<std::int32_t> ids(static_cast<std::size_t>(dataset.shape()[0]));
  const std::int64_t start = 0;
  dataset.read({&start, 1}, dataset.shape(), std::as_writable_bytes(std::span(ids)));
  return ids;
}

DType dtype_of(const h5::Dataset& dataset) {
  switch (dataset.element()) {
    case h5::Element::f32:
      return DType::f32;
    case h5::Element::f16:
      return DType::f16;
    case h5::Element::bf16:
      return DType::bf16;
    case h5::Element::u16:
      if (dataset.text("dtype") == "bfloat16") return DType::bf16;
      fail("{}: uint16 needs the attribute dtype = \"bfloat16\"", dataset.name());
    default:
      fail("{}: {} is none of f32, f16, bf16 (little-endian)", dataset.name(), dataset.type_text());
  }
}

LayerInfo read_layer_info(const h5::Group& layer, const std::string& name) {
  const h5::Dataset q = open_tensor(layer, Part::q), k = open_tensor(layer, Part::k),
                    v = open_tensor(layer, Part::v);
  const auto &qs = q.shape(), &ks = k.shape();
  if (v.shape() != ks) {
    fail("{}: shape {} differs from that of k, {}", v.name(), shape_text(v.shape()), shape_text(ks));
  }
  if (qs[2] != ks[2]) fail("{}: head_dim {} differs from that of q, {}", k.name(), ks[2], qs[2]);
  if (qs[0] % ks[0] != 0) {
    fail("{}: {} query heads are not a multiple of {} KV heads", layer.name(), qs[0], ks[0]);
  }
  LayerInfo info;
  info.dtype = dtype_of(q);
  for (const auto* other : {&k, &v}) {
    if (dtype_of(*other) != info.dtype) {
      fail("{}: type {} differs from that of q, {}", other->name(), name_of(dtype_of(*other)),
           name_of(info.dtype));
    }
  }
  if (layer.has("ref/out")) info.ref_dtype = dtype_of(layer.dataset("ref/out"));
  const std::int64_t number = required(layer.integer("layer"), layer, "layer");
  if (number < 0 || number > 999999 || layer_name(static_cast<int>(number)) != name) {
    fail("{}: attribute layer is {}, the group's name says otherwise", layer.name(), number);
  }
  info.layer = static_cast<int>(number);

  Geometry& g = info.geometry;
  g.q_heads = static_cast<int>(qs[0]);
  g.kv_heads = static_cast<int>(ks[0]);
  g.q_len = qs[1];
  g.kv_len = ks[1];
  g.head_dim = static_cast<int>(qs[2]);
  g.q_start = layer.integer("q_start").value_or(g.kv_len - g.q_len);
  g.softmax_scale = required(layer.real("softmax_scale"), layer, "softmax_scale");
  g.causal = required(layer.integer("causal"), layer, "causal") != 0;
  g.sliding_window = layer.integer("sliding_window").value_or(0);
  info.rope_applied = layer.integer("rope_applied").value_or(1) != 0;
  info.softcap = layer.real("softcap").value_or(0);
  info.has_sink_logits = layer.has("sink_logits");
  if (auto truth = layer.text("truth_json")) info.text["truth_json"] = std::move(*truth);
  if (g.q_start < 0 || g.q_start > g.kv_len - g.q_len) {
    fail("{}: query rows {} to {} (q_start {}) do not lie among the {} keys", layer.name(), g.q_start,
         g.q_start + g.q_len - 1, g.q_start, g.kv_len);
  }
  if (!std::isfinite(g.softmax_scale) || g.softmax_scale <= 0) {
    fail("{}: softmax_scale is {}, it must be positive", layer.name(), g.softmax_scale);
  }
  if (g.sliding_window < 0) fail("{}: sliding_window is {}, 0 means none", layer.name(), g.sliding_window);
  return info;
}

}  // namespace anchor
