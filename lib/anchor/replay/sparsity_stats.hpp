#pragma once

#include <vector>

#include "anchor/engine/engine.hpp"
#include "anchor/rows/sparsity.hpp"

namespace anchor {

/// Statistics of the plan's heads on these inputs. `block` and `group` (query rows) say what initial and
/// local mean. Costs a mass map and a pass for the maxima a head.
std::vector<SparsityStats> sparsity_stats(Engine& engine, const Inputs& inputs, const SparsePlan& plan,
                                          std::int64_t block, std::int64_t group);

/// Statistics of a method's plan. Initial block and local window are those of its parameters block and step,
/// 128 rows where it has none.
std::vector<SparsityStats> sparsity_stats(Engine& engine, const Inputs& inputs, const Method& method,
                                          const PlanRequest& request);

}  // namespace anchor
