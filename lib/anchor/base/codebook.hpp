#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "anchor/base/aligned.hpp"

namespace anchor {

/// The codes of one layer's keys, for every KV head. The head dimension is cut into `parts` equal runs of
/// dimensions; every part of a key has a code of its own, and row n of the centroids holds code n of all
/// parts side by side.
struct LayerCodebook {
  int kv_heads = 0, head_dim = 0;
  AlignedVector<float> centroids;  ///< [kv_heads, codes, head_dim], in the space of the keys
  /// [kv_heads, head_dim, head_dim], lower triangular: keys are compared as factor^T k.
  AlignedVector<float> factor;
  std::vector<std::int32_t> count;  ///< [kv_heads, parts * codes]: keys of each code when it was fitted
};

/// What stands for the keys of a model in vector-quantised retrieval (A2ATS, arXiv 2502.12665).
struct Codebook {
  std::int64_t codes = 0;  ///< of every part
  std::int64_t parts = 1;  ///< 1 = whole keys; more = product quantisation
  std::int64_t b = 0;      ///< the distance that queries were turned to
  std::string metric;      ///< "query": keys as queries see them; "plain": Euclidean
  std::string rope;        ///< "windowed": keys before RoPE; "post": after it
  std::string model;       ///< of the dumps
  std::string fitted_on;   ///< their names
  std::map<int, LayerCodebook> layers;

  /// Bits that the code of one key takes.
  double bits() const;
};

}  // namespace anchor
