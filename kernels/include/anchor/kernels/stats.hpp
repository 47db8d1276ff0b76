#pragma once

#include "anchor/kernels/launch.hpp"

namespace anchor::kernels {

/// (query row, key) pairs of one head under a plan, as PlanStats counts them
/// (lib/anchor/plan/plan_stats.hpp).
struct PairCounts {
  std::int64_t visible = 0;  ///< that the plan keeps
  std::int64_t work = 0;     ///< computed tile by tile: whole blocks, listed columns
  std::int64_t stripe = 0;   ///< visible ones that come from columns
};

/// Counts what a plan of a causal layer keeps and costs: counts [q_heads] in device memory. Integers, equal
/// to the host's.
void count_pairs(const Shape& shape, const PlanParams& plan, PairCounts* counts, const Stream& stream);

/// Adds to `kept` [q_heads] how many of the keys [count], which are positions, a plan keeps for one query row
/// of every head. Both lie in device memory.
void count_listed(const Shape& shape, const PlanParams& plan, std::int64_t row, const std::int32_t* keys,
                  std::int64_t count, std::int64_t* kept, const Stream& stream);

}  // namespace anchor::kernels
