#pragma once

#include "anchor/plan/sparse_plan.hpp"

namespace anchor {

/// What a plan keeps and what it costs at its own tile geometry, for one head (or summed over heads).
struct PlanStats {
  std::int64_t causal_pairs = 0;   ///< all (row, key) pairs under causality and the layer's sliding window
  std::int64_t visible_pairs = 0;  ///< pairs the plan keeps (set semantics)
  std::int64_t work_pairs = 0;     ///< pairs computed tile by tile: whole blocks, listed columns
  std::int64_t stripe_pairs = 0;   ///< visible pairs that come from columns

  double density() const { return ratio(visible_pairs); }
  double work_density() const { return ratio(work_pairs); }
  double stripe_density() const { return ratio(stripe_pairs); }

  PlanStats& operator+=(const PlanStats& other);

 private:
  double ratio(std::int64_t pairs) const {
    return causal_pairs == 0 ? 0 : static_cast<double>(pairs) / static_cast<double>(causal_pairs);
  }
};

/// Statistics of one head of a plan, and of one group of its query rows.
PlanStats plan_stats(const SparsePlan& plan, int head);
PlanStats plan_stats(const SparsePlan& plan, int head, std::int64_t group);

}  // namespace anchor
