#pragma once

#include <span>

#include "anchor/plan/sparse_plan.hpp"

namespace anchor {

/// Does the key lie in one of these blocks of a plan row?
bool in_blocks(const SparsePlan& plan, std::span<const std::int32_t> blocks, std::int64_t key);
/// Does the plan row list the key, in a block or as a column? Causality and the window are apart:
/// SparsePlan::allows().
bool lists_key(const SparsePlan& plan, std::int64_t row, std::int64_t key);

}  // namespace anchor
