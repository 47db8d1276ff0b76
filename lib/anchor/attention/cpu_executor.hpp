#pragma once

#include "anchor/attention/attention.hpp"
#include "anchor/plan/sparse_plan.hpp"

namespace anchor {

/// Attention under a plan on all cores: tiles of query rows against runs of keys and gathered columns, with a
/// running softmax in float (normalisers accumulate in double). Scores of massive activations are computed in
/// double (score_range.hpp). Work is proportional to the plan's work_density.
AttentionResult cpu_attention(const AttentionInputs& inputs, const SparsePlan& plan);

}  // namespace anchor
