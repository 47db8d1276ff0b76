#pragma once

#include <cstdint>
#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/kernels/launch.hpp"
#include "anchor/plan/sparse_plan.hpp"

namespace anchor::test {

/// Parameters of AnchorAttention.
struct AnchorSetting {
  int block = 128, step = 16;
  bool v4 = false, dense_tail = false;
};

enum class AnchorRun { lists, critical, forward };

/// What a run left.
struct AnchorResult {
  SparsePlan plan;
  AttentionResult attention;    ///< of AnchorRun::forward
  std::vector<float> critical;  ///< [q_heads, groups, kv_len], NaN where nothing was written
  std::int64_t columns = 0;     ///< that there are, whatever the capacity
};

/// Plans, or plans and attends, on the device into poisoned memory.
AnchorResult device_plan(const AttentionInputs& inputs, DType dtype, const AnchorSetting& setting,
                         const std::vector<double>& theta, AnchorRun run,
                         kernels::Path path = kernels::Path::automatic, std::int64_t column_capacity = -1);

/// The CPU planner's.
SparsePlan cpu_plan(const AttentionInputs& inputs, const AnchorSetting& setting,
                    const std::vector<double>& theta);

/// The critical theta of a key by the definition, in float64; NaN for keys that are no candidates.
std::vector<double> reference_critical(const AttentionInputs& inputs, const AnchorSetting& setting);

/// Columns and duplicates of one plan row together, sorted.
std::vector<std::int32_t> selected(const SparsePlan& plan, std::int64_t row);

/// Pooled scores sum head_dim products of numbers of a few units in float: an error of 1e-4 is generous.
constexpr double critical_tolerance = 1e-4;

}  // namespace anchor::test
