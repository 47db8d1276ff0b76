#include "anchor/engine/cuda/planners/block_planner.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {

/// XAttention (rule: method/xattention.cpp).
std::unique_ptr<CudaPlanner> make_xattention_planner(const PlanRequest& request, const CudaInputs& inputs,
                                                     std::int64_t begin, std::int64_t end) {
  const kernels::PlannerInputs in = planner_inputs("xattention", inputs, begin, end);
  kernels::XAttentionParams params;
  params.block = static_cast<int>(request.params.integer("block"));
  params.stride = static_cast<int>(request.params.integer("stride"));
  if (official_rounding(request.params) || !planners_support(in) || kernels::unsupported(in, params))
    return nullptr;
  kernels::DeviceBuffer knobs = device_knobs(request, "tau", inputs);
  params.knob = knobs.data<double>();
  return make_block_planner(inputs, {.grid = {in.shape.q_heads, in.shape.q_len, params.block, params.block},
                                     .knobs = std::move(knobs),
                                     .workspace_bytes = kernels::workspace_bytes(in, params),
                                     .select = [in, params](auto* bits, void* workspace, const auto& stream) {
                                       kernels::xattention_select(in, params, bits, workspace, stream);
                                     }});
}

}  // namespace anchor
