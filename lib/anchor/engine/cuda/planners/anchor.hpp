#pragma once

#include <optional>

#include "anchor/engine/cuda/planners/table.hpp"

namespace anchor {

/// What AnchorAttention's kernels take for query rows [begin, end) of the inputs; lists and theta are left to
/// the caller. Nothing for parameters that only the CPU plans.
std::optional<kernels::AnchorParams> anchor_params(const Params& given, const CudaInputs& inputs,
                                                   std::int64_t begin, std::int64_t end);

/// The method's exact curves (planners/anchor_curve.cpp).
MakeCurves anchor_curves;

}  // namespace anchor
