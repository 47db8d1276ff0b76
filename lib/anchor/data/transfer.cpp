#include "anchor/data/transfer.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/data/dump_writer.hpp"
#include "anchor/data/layer_rules.hpp"
#include "anchor/data/safetensors.hpp"

namespace anchor {
namespace {

std::string dotted(Part part) {
  std::string name(name_of(part));
  std::replace(name.begin(), name.end(), '/', '.');
  return name;
}

std::string dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::f16:
      return "F16";
    case DType::bf16:
      return "BF16";
  }
  return "?";
}

SafetensorsMetadata metadata_of(const DumpReader& reader) {
  const DumpHeader& header = reader.header();
  SafetensorsMetadata all{{"format", "anchor-qkv"},
                          {"format_version", "1.0"},
                          {"model", header.model},
                          {"seq_len", std::to_string(header.seq_len)}};
  for (const auto& [name, value] : header.text) all[name] = value;
  if (header.seed) all["seed"] = std::to_string(*header.seed);
  for (const LayerInfo& info : reader.layers()) {
    if (info.softcap != 0 || info.has_sink_logits)  // an import would take the layer for plain softmax
      fail("{}: layer {} has {}, which safetensors files of dumps cannot say", reader.path(), info.layer,
           info.softcap != 0 ? "a soft cap" : "attention sinks");
    const std::string prefix = "layers." + layer_name(info.layer) + ".";
    all[prefix + "softmax_scale"] = format_number(info.geometry.softmax_scale);
    all[prefix + "causal"] = info.geometry.causal ? "1" : "0";
    all[prefix + "q_start"] = std::to_string(info.geometry.q_start);
    all[prefix + "sliding_window"] = std::to_string(info.geometry.sliding_window);
    all[prefix + "rope_applied"] = info.rope_applied ? "1" : "0";
    for (const auto& [name, value] : info.text) all[prefix + name] = value;
  }
  return all;
}

// Tensors of one layer of a safetensors file.
using LayerEntries = std::map<Part, const SafetensorsEntry*>;

// "layers.3.ref.out" -> 3, ref_out
std::optional<std::pair<int, Part>> parse_name(std::string_view name) {
  constexpr std::string_view prefix = "layers.";
  if (!name.starts_with(prefix)) return std::nullopt;
  int layer = -1;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + prefix.size(), end, layer);
  if (parsed.ec != std::errc() || parsed.ptr == end || *parsed.ptr != '.' || layer < 0) return std::nullopt;
  for (const Part part : all_parts) {
    if (std::string_view(parsed.ptr + 1, end) == dotted(part)) return std::pair{layer, part};
  }
  return std::nullopt;
}

class Import {
 public:
  Import(const std::string& source, const ImportOptions& options) : file_(source), options_(options) {
    for (const auto& [name, entry] : file_.entries()) {
      if (name == "input_ids") continue;
      const auto parsed = parse_name(name);
      if (!parsed)
        fail("{}: tensor {:?} is none of layers.NNN.q, k, v, ref.out, ref.lse, input_ids", source, name);
      prefixes_[parsed->first] = name.substr(0, name.find('.', std::string("layers.").size()) + 1);
      if (!layers_[parsed->first].emplace(parsed->second, &entry).second) {
        fail("{}: tensor {:?} is there twice", source, name);
      }
    }
    if (layers_.empty()) fail("{}: no tensor is named layers.NNN.q", source);
  }

  const SafetensorsReader& file() const { return file_; }
  const std::map<int, LayerEntries>& layers() const { return layers_; }

  DumpPlan plan() const {
    DumpPlan plan{header(), {}, input_ids(), {file_.path()}};
    for (const auto& [number, parts] : layers_) plan.layers.push_back(layer(number));
    return plan;
  }

 private:
  DumpHeader header() const {
    DumpHeader header;
    header.tool = options_.tool;
    header.tool_version = options_.tool_version;
    header.model = options_.model ? *options_.model : text("model").value_or("");
    if (header.model.empty()) fail("{}: no metadata names the model; give --model", file_.path());
    header.seq_len = layer(layers_.begin()->first).geometry.kv_len;
    for (const char* name : optional_text) {
      if (const auto value = text(name)) header.text[name] = *value;
    }
    header.seed = whole_number("seed");
    return header;
  }

  std::vector<std::int32_t> input_ids() const {
    const auto found = file_.entries().find("input_ids");
    if (found == file_.entries().end()) return {};
    if (found->second.dtype != "I32" || found->second.shape.size() != 1) {
      fail("{}: tensor \"input_ids\" must be I32 with one axis", file_.path());
    }
    std::vector<std::int32_t> ids(
        static_cast<std::size_t>(found->second.shape[0]));  // the file has the bytes
    file_.read(found->second, 0, std::as_writable_bytes(std::span(ids)));
    return ids;
  }

  LayerInfo layer(int number_) const {
    const LayerEntries& parts = layers_.at(number_);
    const std::string& prefix = prefixes_.at(number_);
    const auto form = [&](Part part) -> TensorForm {
      const auto found = parts.find(part);
      if (found == parts.end()) fail("{}: tensor \"{}{}\" is missing", file_.path(), prefix, dotted(part));
      const SafetensorsEntry& entry = *found->second;
      return {fmt::format("{}: {}", file_.path(), entry.name), entry.shape, dtype(entry)};
    };
    LayerInfo info;
    info.layer = number_;
    set_shape(info, form(Part::q), form(Part::k), form(Part::v));
    Geometry& g = info.geometry;
    const auto scale = number(prefix + "softmax_scale");
    if (!scale && !options_.softmax_scale) {
      fail("{}: no metadata gives {}softmax_scale; give --softmax-scale", file_.path(), prefix);
    }
    g.softmax_scale = options_.softmax_scale ? *options_.softmax_scale : *scale;
    g.causal = whole_number(prefix + "causal").value_or(1) != 0;
    g.q_start = whole_number(prefix + "q_start").value_or(g.q_start);
    g.sliding_window = whole_number(prefix + "sliding_window").value_or(0);
    info.rope_applied = whole_number(prefix + "rope_applied").value_or(1) != 0;
    info.softcap = number(prefix + "softcap").value_or(0);
    if (const auto truth = text(prefix + "truth_json")) info.text["truth_json"] = *truth;
    require_valid(info, fmt::format("{}: {}*", file_.path(), prefix));
    info.has_ref_out = parts.contains(Part::ref_out);
    info.has_ref_lse = parts.contains(Part::ref_lse);
    if (info.has_ref_out) info.ref_dtype = dtype(*parts.at(Part::ref_out));
    require_forms(info, parts);
    require_length(info, prefix);
    return info;
  }
  DType dtype(const SafetensorsEntry& entry) const {
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      if (entry.dtype == dtype_name(dtype)) return dtype;
    }
    fail("{}: tensor {:?} is {}, not F32, F16 or BF16", file_.path(), entry.name, entry.dtype);
  }
  std::optional<std::string> text(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    return found == file_.metadata().end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<double> number(const std::string& key) const {
    const auto value = text(key);
    if (!value) return std::nullopt;
    const auto parsed = parse_number(*value);
    if (!parsed) fail("{}: metadata {} is {:?}, not a number", file_.path(), key, *value);
    return parsed;
  }

  // A count or position: a dump numbers tokens with integers.
  std::optional<std::int64_t> whole_number(const std::string& key) const {
    const auto value = number(key);
    if (!value) return std::nullopt;
    if (std::abs(*value) > 9e15 || *value != std::floor(*value)) {
      fail("{}: metadata {} is {:?}, not a whole number", file_.path(), key, *text(key));
    }
    return static_cast<std::int64_t>(*value);
  }
  void require_forms(const LayerInfo& info, const LayerEntries& parts) const {
    for (const auto& [part, entry] : parts) {
      const auto shape = shape_of(info, part);
      const DType wanted = dtype_of(info, part);
      if (!std::equal(entry->shape.begin(), entry->shape.end(), shape.begin(),
                      shape.begin() + rank_of(part)) ||
          dtype(*entry) != wanted) {
        fail("{}: tensor {:?} must be {} of shape [{}]", file_.path(), entry->name, dtype_name(wanted),
             fmt::join(shape.begin(), shape.begin() + rank_of(part), ", "));
      }
    }
  }
  // A text of another length means that the axes stand in another order.
  void require_length(const LayerInfo& info, const std::string& prefix) const {
    const auto length = whole_number("seq_len");
    if (length && *length != info.geometry.kv_len) {
      fail(
          "{}: {}k holds {} keys, but seq_len is {}; the axes of a tensor are head, token, dim in this order",
          file_.path(), prefix, info.geometry.kv_len, *length);
    }
  }

  SafetensorsReader file_;
  const ImportOptions& options_;
  std::map<int, LayerEntries> layers_;
  std::map<int, std::string> prefixes_;  // "layers.3.", as the file writes it
};

}  // namespace

void export_dump(const DumpReader& reader, const std::string& path, const TransferProgress& progress) {
  const std::vector<std::int32_t> ids = reader.input_ids();
  std::vector<SafetensorsEntry> entries;
  if (!ids.empty()) entries.push_back({"input_ids", "I32", {static_cast<std::int64_t>(ids.size())}, 0, 0});
  for (const LayerInfo& info : reader.layers()) {
    for (const Part part : all_parts) {
      if (const StoredTensor* stored = reader.stored(info.layer, part)) {
        entries.push_back({"layers." + layer_name(info.layer) + "." + dotted(part),
                           dtype_name(stored->dtype),
                           {stored->shape.begin(), stored->shape.begin() + rank_of(part)},
                           0,
                           0});
      }
    }
  }
  SafetensorsWriter writer(path, entries, metadata_of(reader), {reader.path()});
  writer.write(std::as_bytes(std::span(ids)));
  const auto total = static_cast<std::int64_t>(entries.size());
  std::int64_t done = 0;
  for (const LayerInfo& info : reader.layers()) {
    for (const Part part : all_parts) {
      const StoredTensor* stored = reader.stored(info.layer, part);
      if (!stored) continue;
      progress(done++, total, fmt::format("layer {}, {}", info.layer, name_of(part)));
      for (std::int64_t head = 0; head < stored->shape[0]; ++head) {
        check_interrupt();
        writer.write(reader.read(info.layer, part, head, 1).bytes);
      }
    }
  }
  writer.finish();
}

DumpPlan read_import(const std::string& source, const ImportOptions& options) {
  return Import(source, options).plan();
}

void import_dump(const std::string& source, const std::string& path, const ImportOptions& options,
                 const TransferProgress& progress) {
  const Import import(source, options);
  DumpWriter writer(path, import.plan());
  const auto total = static_cast<std::int64_t>(import.file().entries().size());
  std::int64_t done = 0;
  for (const auto& [number, parts] : import.layers()) {
    writer.begin_layer(number);
    for (const auto& [part, entry] : parts) {
      progress(done++, total, entry->name);
      const auto heads = static_cast<std::uint64_t>(entry->shape[0]);
      std::vector<std::byte> bytes((entry->end - entry->begin) / heads);
      for (std::uint64_t head = 0; head < heads; ++head) {
        check_interrupt();
        import.file().read(*entry, head * bytes.size(), bytes);
        writer.append(part, bytes);
      }
    }
    writer.end_layer();
  }
  writer.finish();
}

}  // namespace anchor
