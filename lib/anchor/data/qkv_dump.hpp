#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "anchor/base/dtype.hpp"
#include "anchor/base/kv_group.hpp"
#include "anchor/data/hdf5/file.hpp"

// What a dump of queries, keys and values consists of (data/README.md describes the file).
// dump_reader.hpp and dump_writer.hpp read and write it.
namespace anchor {

/// The tensors of a layer. The last two are optional: what the model itself computed.
enum class Part : std::uint8_t { q, k, v, ref_out, ref_lse };
inline constexpr Part all_parts[] = {Part::q, Part::k, Part::v, Part::ref_out, Part::ref_lse};
/// "q", "k", "v", "ref/out", "ref/lse": the dataset's path inside its layer.
std::string_view name_of(Part part);

/// Root attributes that a dump may have besides those every dump has.
inline constexpr const char* optional_text[] = {"model_sha256", "config_json", "tokenizer", "prompt_source",
                                                "git_sha",      "device",      "rope_json", "history"};

/// The root attributes.
struct DumpHeader {
  std::string model;
  std::int64_t seq_len = 0;
  std::string tool, tool_version;
  std::string created_utc;                  ///< the writer fills it in
  std::map<std::string, std::string> text;  ///< optional_text
  std::optional<std::int64_t> seed;
  std::string request;  ///< written: what else decides the bits, in any form; a resumed dump needs the same
  std::optional<std::uint64_t> request_hash;  ///< read: of the whole request (dump_places.hpp)
};

/// How queries and keys were rotated: dimensions i and i + n of a head turn by position * inv_freq[i], where
/// n is the number of frequencies.
struct DumpRope {
  std::vector<float> inv_freq;
  double attention_factor = 1;  ///< multiplied both
  bool operator==(const DumpRope&) const = default;
};

/// One layer: all of its heads.
struct LayerInfo {
  int layer = 0;
  Geometry geometry;
  DType dtype = DType::f32;  ///< of q, k and v
  bool rope_applied = true;
  double softcap = 0;                       ///< scores pass through softcap * tanh(score / softcap); 0 = none
  std::optional<DumpRope> rope;             ///< where the dump says it
  bool has_sink_logits = false;             ///< a logit stands beside each row's scores
  DType ref_dtype = DType::f32;             ///< of ref/out; ref/lse is always f32
  std::map<std::string, std::string> text;  ///< optional string attributes: truth_json (of synthetic heads)
  bool has_ref_out = false, has_ref_lse = false;
};

/// Heads, rows and columns of a part; lse has one column.
std::array<std::int64_t, 3> shape_of(const LayerInfo& info, Part part);
DType dtype_of(const LayerInfo& info, Part part);
/// Axes of the dataset: three, for lse two.
std::size_t rank_of(Part part);
/// q, k, v and those reference tensors that the layer has.
std::vector<Part> parts_of(const LayerInfo& info);

/// "003"
std::string layer_name(int layer);

// ---- reading the schema; every error names the file, the object and what is expected there ----

/// Root attributes, after format and format_version were checked.
DumpHeader read_header(const h5::Node& root);
/// The token ids that a dataset holds.
std::vector<std::int32_t> read_input_ids(const h5::File& file, const h5::Node& dataset);
/// A layer's attributes and the shapes and types of its tensors, whose bytes are all there.
LayerInfo read_layer_info(const h5::File& file, const h5::Node& layer, const std::string& name);
/// The element type of q, k, v or a reference tensor (uint16 marked as bfloat16 is bf16).
DType dtype_of(const h5::Node& dataset);

}  // namespace anchor
