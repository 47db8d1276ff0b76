#pragma once

#include <optional>
#include <string>

#include "anchor/engine/pipeline.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "anchor/replay/plan_agreement.hpp"
#include "anchor/replay/sampled_check.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {

/// What the last run of a pipeline was found to be, before anyone times it.
struct LayerCheck {
  PlanStats stats;                       ///< of its plan, summed over the heads
  std::int64_t rows = 0;                 ///< output rows compared with float64 attention over the plan
  SampledError error;                    ///< of these rows
  std::optional<GroupAgreement> blocks;  ///< of a device's plan with the CPU planner's: all KV heads
  std::optional<PlanAgreement> columns;  ///< the same where methods list columns: sampled plan rows
  std::string failure;                   ///< why it must not be timed; or empty
  bool device_plan = false;  ///< the device planned; without `blocks` and `columns` nobody checked it

  /// Density and what was compared, as fields of a bench row.
  void fill(ResultRow& row) const;
};

/// Compares about `sampled_rows` output rows with the reference, and a plan that a device made with the CPU
/// planner's: sampled rows of it where the method lists columns by a threshold, else all of it, unless the
/// layer is so long that the CPU would take minutes; the row's plan_checked then says no. `method`: nullptr
/// for a vendor's library. A data error if the plan is broken, or drops products with V, which the reference
/// does not know.
LayerCheck check_layer(Pipeline& pipeline, const KvGroup& layer, const Method* method,
                       const PlanRequest& request, int sampled_rows);

}  // namespace anchor
