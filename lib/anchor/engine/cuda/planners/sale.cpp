#include "anchor/engine/cuda/planners/block_planner.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {
namespace {

/// SALE's selection (rule: method/sale.cpp).
std::unique_ptr<CudaPlanner> make_planner(const PlanTask& task) {
  const kernels::Tensors in = whole_prefill(task);
  kernels::SaleParams params;
  params.window = task.request.params.integer("window");
  params.per_token = task.request.params.integer("quant") == 2;
  if (official_rounding(task.request.params) || !planners_support(in) || kernels::unsupported(in, params))
    return nullptr;
  return make_block_planner(task.inputs, in, params, device_knobs(task), kernels::sale_select,
                            {.grid = {in.shape.q_heads, in.shape.q_len, 64, 32}});
}

}  // namespace

extern const CudaMethod sale_on_cuda{"sale", make_planner};

}  // namespace anchor
