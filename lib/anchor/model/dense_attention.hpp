#pragma once

#include "anchor/attention/attention.hpp"
#include "anchor/plan/sparse_plan.hpp"

namespace anchor {

/// The plan that keeps every key that causality and the geometry's sliding window leave: key j of row i iff
/// i - window < j <= i.
SparsePlan whole_plan(const Geometry& geometry);

/// Attention of a layer as the model has it, on all cores. The work of a windowed layer grows with its
/// window, not with the text.
AttentionResult dense_attention(const AttentionInputs& inputs);

}  // namespace anchor
