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
/// allows (1 = at the limit). With the softmax weights p_j, u the output type's unit roundoff, and s the
/// row's largest |score|:
///     lse   2^-15 + 2^-20 s
///     out   u (4 sqrt(sum_j (p_j v_j)^2) + |out|) + (2^-16 + 2^-20 s) sum_j p_j |v_j|
/// Weights are rounded to the type before the product with V, each on its own, so that their errors add up
/// like a random walk; the sum is rounded after it; the last term covers scores in float32. Keys that count
/// through means add u sum_j p_j |v_j|, and float16's subnormal weights 2^-24 sum_j |v_j| / sum. A kernel
/// that loses a thousandth of the mass, or part of a row that looks at everything, is far outside. NaN is
/// infinitely far.
struct SampledError {
  double out = 0, lse = 0;
  QueryRow worst;  ///< of the larger of the two
  bool ok() const { return out <= 1 && lse <= 1; }
};
SampledError sampled_error(const KvGroup& layer, const SparsePlan& plan, std::span<const QueryRow> rows,
                           const AttentionResult& result, DType out_dtype);

}  // namespace anchor
