#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "anchor/engine/cuda/planners/table.hpp"

namespace anchor {

/// A launch's shapes and inputs for query rows [begin, end) of the inputs; the method, lists and theta are
/// left to the caller.
kernels::AnchorParams layer_params(const CudaInputs& inputs, std::int64_t begin, std::int64_t end);

/// What AnchorAttention's kernels take for query rows [begin, end) of the inputs; lists and theta are left to
/// the caller. Nothing for parameters that only the CPU plans.
std::optional<kernels::AnchorParams> anchor_params(const Params& given, const CudaInputs& inputs,
                                                   std::int64_t begin, std::int64_t end);

/// The planner that makes lists by the request's theta of every head, and with a window for every head if
/// any is given; nullptr if no kernel takes `params`.
std::unique_ptr<CudaPlanner> make_list_planner(const kernels::AnchorParams& params,
                                               const PlanRequest& request, const CudaInputs& inputs,
                                               const std::vector<std::int32_t>& windows = {});

}  // namespace anchor
