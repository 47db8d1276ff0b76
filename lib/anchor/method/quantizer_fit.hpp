#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "anchor/base/aligned.hpp"

namespace anchor {

/// What a codebook of one KV head is fitted to.
struct QuantizerFit {
  std::int64_t codes = 1024;
  std::int64_t parts = 1;
  bool query_metric = true;   ///< distances as queries see them; false: Euclidean
  bool stride_start = false;  ///< start from every (n / codes)-th key instead of D^2 sampling
  int most_steps = 50;        ///< of Lloyd's iteration, which ends earlier when no key moves
  std::uint64_t seed = 1;     ///< of D^2 sampling
};

struct FittedQuantizer {
  AlignedVector<float> centroids;   ///< [codes, dim]: plain means of their keys
  AlignedVector<float> factor;      ///< [dim, dim], lower triangular; the identity for the plain metric
  std::vector<std::int32_t> count;  ///< [parts, codes]
};

/// Mean of q q^T over query rows [count, dim]: [dim, dim], in double.
std::vector<double> second_moment(const float* queries, std::int64_t count, int dim);

/// The lower triangular L of H / rms(H) + 1e-6 I = L L^T, by parts: every diagonal block of `parts` equal
/// runs of dimensions has its own root mean square of entries, and what couples parts is left out.
AlignedVector<float> factor_of(const std::vector<double>& moment, int dim, std::int64_t parts);

/// Codes of keys [count, dim] by k-means on factor^T k. `moment` is that of the queries (not read for the
/// plain metric). Sums are in double and in the order of the keys: the same bits on any number of threads.
/// A code whose keys all left keeps its centroid.
FittedQuantizer fit_quantizer(const float* keys, std::int64_t count, int dim,
                              const std::vector<double>& moment, const QuantizerFit& fit);

}  // namespace anchor
