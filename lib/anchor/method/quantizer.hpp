#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "anchor/base/aligned.hpp"
#include "anchor/base/codebook.hpp"

namespace anchor {

/// The codes of one KV head's keys: what a far key is replaced by.
class Quantizer {
 public:
  /// The codebook must outlive it. A data error says so where it has no such layer or head, or heads of
  /// another dimension.
  Quantizer(const Codebook& book, int layer, int kv_head, int head_dim);

  std::int64_t codes() const { return codes_; }
  std::int64_t parts() const { return parts_; }
  const float* centroids() const { return centroids_; }  ///< [codes, head_dim], in the space of the keys

  /// Codes of keys [count, head_dim]: [count, parts]. A part's code is the centroid nearest to it as queries
  /// see it, |factor^T (k - c)| least; of equally near ones the first.
  std::vector<std::uint16_t> assign(const float* keys, std::int64_t count) const;

  /// Scores of every code for query rows [rows, head_dim]: out[row][part][code] = the part's share of q . c.
  void tables(const float* queries, std::int64_t rows, AlignedVector<float>& out) const;

 private:
  std::int64_t codes_, parts_;
  int dim_;
  const float* centroids_;
  AlignedVector<float> transposed_;  ///< factor^T [dim, dim], so that keys times it are a product a b^T
  AlignedVector<float> seen_;        ///< factor^T c of every centroid: [codes, dim]
  std::vector<float> half_norm_;     ///< |factor^T c|^2 / 2 of every part and code: [parts, codes]
};

/// out[n] = factor^T k of every key: [count, dim]; `transposed` is factor^T, row by row.
void see_keys(const float* transposed, const float* keys, std::int64_t count, int dim, float* out);

}  // namespace anchor
