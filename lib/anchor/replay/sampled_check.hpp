#pragma once

#include <span>
#include <string>
#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/base/kv_group.hpp"
#include "anchor/engine/pipeline.hpp"
#include "anchor/plan/sparse_plan.hpp"

namespace anchor {

/// Rows worth looking at: of every head the last one; of some heads the first, those around tile and group
/// boundaries, and random ones, `count` rows or a few more in all.
std::vector<QueryRow> sample_rows(const Geometry& geometry, std::int64_t group_rows, int count,
                                  unsigned seed);

/// How far sampled rows are from float64 attention over the plan's visible keys, as a share of what rounding
/// allows (1 = at the limit):
///     out   (u + 2^-12) * (sum_j p_j |v_j| + |out|)   u = the output type's unit roundoff: the weights are
///                                                     rounded to it before the product with V, and the sum
///                                                     after it; 2^-12 covers the scores' float32 rounding
///     lse   2^-10 + 2^-18 * the row's largest |score|
/// NaN is infinitely far.
struct SampledError {
  double out = 0, lse = 0;
  QueryRow worst;  ///< of the larger of the two
  bool ok() const { return out <= 1 && lse <= 1; }
};
SampledError sampled_error(const KvGroup& layer, const SparsePlan& plan, std::span<const QueryRow> rows,
                           const AttentionResult& result, DType out_dtype);

}  // namespace anchor
