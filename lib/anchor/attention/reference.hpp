#pragma once

#include "anchor/attention/attention.hpp"
#include "anchor/plan/sparse_plan.hpp"

namespace anchor {

/// Attention under a plan, straight from the definition: float64, one row at a time, a full mask per row.
/// Slow and obvious on purpose; every other executor is tested against it. Duplicated keys (plan.dup) count
/// twice in out and once in lse.
AttentionResult reference_attention(const AttentionInputs& inputs, const SparsePlan& plan);

/// Dense attention by the same loop.
AttentionResult reference_attention(const AttentionInputs& inputs);

}  // namespace anchor
