#pragma once

#include "anchor/base/kv_group.hpp"
#include "anchor/method/method.hpp"

namespace anchor {

/// A plan against the CPU planner's on sampled plan rows.
struct PlanAgreement {
  std::int64_t rows = 0;       ///< plan rows compared
  std::int64_t columns = 0;    ///< columns the CPU planner lists in them
  std::int64_t different = 0;  ///< columns that only one of the two lists
  std::int64_t wrong = 0;      ///< of these, the ones that `rounding` does not explain
  bool blocks_equal = true;
};

/// Compares about `count` plan rows. A threshold method's list grows with its knob, so a planner whose scores
/// are off by at most `rounding` lists everything that the CPU planner lists at knob - rounding, and nothing
/// that it does not list at knob + rounding; a column outside these bounds is wrong.
PlanAgreement plan_agreement(const KvGroup& layer, const SparsePlan& plan, const Method& method,
                             const PlanRequest& request, double rounding, int count);

/// Entries of a whole plan, blocks and columns, against the CPU planner's.
struct GroupAgreement {
  std::int64_t entries = 0;    ///< that the CPU planner lists
  std::int64_t different = 0;  ///< that only one of the two lists
  /// The ones among these that no knob nearby explains: listed, and not by the CPU planner at either of two
  /// knobs a 64th below and above; or not listed, but by it at both.
  std::int64_t wrong = 0;
};

/// Plans the heads of one KV head on the CPU and compares them: for planners whose rows depend on all keys
/// and queries. Rounding moves single blocks, and whole lines of them where a budget flips. `wrong` stays 0
/// for methods without a threshold on scores (Method::granularity).
GroupAgreement group_agreement(const KvGroup& layer, const SparsePlan& plan, const Method& method,
                               const PlanRequest& request, int kv_head);

}  // namespace anchor
