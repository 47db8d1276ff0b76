#include "anchor/engine/cuda/planners/block_planner.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {

/// SALE's selection (rule: method/sale.cpp).
std::unique_ptr<CudaPlanner> make_sale_planner(const PlanRequest& request, const CudaInputs& inputs,
                                               std::int64_t begin, std::int64_t end) {
  const kernels::PlannerInputs in = planner_inputs("sale", inputs, begin, end);
  kernels::SaleParams params;
  params.window = request.params.integer("window");
  params.per_token = request.params.integer("quant") == 2;
  if (official_rounding(request.params) || !planners_support(in) || kernels::unsupported(in, params))
    return nullptr;
  kernels::DeviceBuffer knobs = device_knobs(request, "theta_h", inputs);
  params.knob = knobs.data<double>();
  return make_block_planner(inputs, {.grid = {in.shape.q_heads, in.shape.q_len, 64, 32},
                                     .knobs = std::move(knobs),
                                     .workspace_bytes = kernels::workspace_bytes(in, params),
                                     .select = [in, params](auto* bits, void* workspace, const auto& stream) {
                                       kernels::sale_select(in, params, bits, workspace, stream);
                                     }});
}

}  // namespace anchor
