#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "anchor/data/pattern.hpp"
#include "anchor/data/qkv_dump.hpp"

namespace anchor {

/// What to make.
struct SyntheticSpec {
  int layers = 1, q_heads = 32, kv_heads = 8, head_dim = 128;
  std::int64_t kv_len = 8192;
  std::int64_t q_len = 0;  ///< the last so many rows have queries; 0 = all
  DType dtype = DType::bf16;
  std::uint64_t seed = 1;
  std::string pattern = "mixed";
};

/// What a head was made to attend to, with all choices resolved.
struct SyntheticTruth {
  PlantedHead pattern;                ///< strengths filled in
  std::vector<std::int64_t> columns;  ///< stripes, ascending
  std::vector<std::int64_t> offsets;  ///< slashes: distances from the query, ascending
};

/// Structured heads with known truth, made one KV group at a time; equal specs give equal bits everywhere.
///
/// The scaled score of query i and key j, in natural-log units, is
///     noise(i, j)                                    ~ N(0, 1), from random vectors: the background
///   + spread  * importance(j)                        importance ~ N(0, 1) per column
///   + sink    * [j < tokens]
///   + stripes * [j is a planted column]
///   + local   * overlap(i - j)                       1 at distance 0, falling to 0 at the width
///   + slash   * [i - j is a planted offset]
/// with each term in coordinates of its own: one axis for the sink; one axis per stripe and importance list
/// (the query heads of a group have lists of their own as far as axes last, one for every 16 dimensions); for
/// local and slash a random unit vector per position (local: interpolated between vectors width / 2 apart).
/// These position vectors are only nearly orthogonal, which adds noise of variance strength^2 / dimensions.
/// Two Householder reflections then spread all of it over the coordinates. Values are N(0, 1), those of sink
/// tokens a tenth of it.
class Synthetic {
 public:
  explicit Synthetic(SyntheticSpec spec);

  const SyntheticSpec& spec() const { return spec_; }
  LayerInfo layer_info(int layer) const;  ///< with truth_json(layer)
  KvGroup group(int layer, int kv_head) const;
  SyntheticTruth truth(int layer, int q_head) const;
  /// The truth of all heads of a layer as JSON.
  std::string truth_json(int layer) const;

 private:
  Geometry geometry() const;
  // Coordinates before the reflections: [begin, begin + size) per term.
  struct Range {
    int begin = 0, size = 0;
  };
  struct Layout {
    Range sink, stripes, spread, local, slash, noise;
  };
  double strength(const Weight& given, const PlantedHead& head, const char* term) const;

  SyntheticSpec spec_;
  PatternMix mix_;
  Layout layout_;
};

}  // namespace anchor
