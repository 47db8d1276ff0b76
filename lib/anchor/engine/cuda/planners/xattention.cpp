#include "anchor/engine/cuda/planners/block_planner.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {
namespace {

/// XAttention (rule: method/xattention.cpp).
std::unique_ptr<CudaPlanner> make_planner(const PlanTask& task) {
  const kernels::Tensors in = whole_prefill(task);
  kernels::XAttentionParams params;
  params.block = static_cast<int>(task.request.params.integer("block"));
  params.stride = static_cast<int>(task.request.params.integer("stride"));
  if (official_rounding(task.request.params) || !planners_support(in) || kernels::unsupported(in, params))
    return nullptr;
  return make_block_planner(task.inputs, in, params, device_knobs(task), kernels::xattention_select,
                            {.grid = {in.shape.q_heads, in.shape.q_len, params.block, params.block}});
}

}  // namespace

extern const CudaMethod xattention_on_cuda{"xattention", make_planner};

}  // namespace anchor
