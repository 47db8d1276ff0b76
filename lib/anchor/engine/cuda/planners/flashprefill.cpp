#include "anchor/method/flashprefill.hpp"

#include "anchor/engine/cuda/planners/block_planner.hpp"

namespace anchor {

/// FlashPrefill's selection (rule: method/flashprefill.cpp).
std::unique_ptr<CudaPlanner> make_flashprefill_planner(const PlanRequest& request, const CudaInputs& inputs,
                                                       std::int64_t begin, std::int64_t end) {
  const kernels::PlannerInputs in = planner_inputs("flashprefill", inputs, begin, end);
  kernels::FlashPrefillParams params;
  params.block = static_cast<int>(request.params.integer("block"));
  params.packed_heads = flash_packed_heads(inputs.geometry(), request.params);
  check_flash_knobs(request, inputs.geometry(), params.packed_heads);
  params.sink = request.params.integer("sink");
  params.window = request.params.integer("window");
  params.exact = request.params.choice("score") == "exact";
  if (!planners_support(in) || kernels::unsupported(in, params)) return nullptr;
  kernels::DeviceBuffer knobs = device_knobs(request, "alpha", inputs);
  params.knob = knobs.data<double>();
  return make_block_planner(inputs, {.grid = {in.shape.q_heads / params.packed_heads, in.shape.q_len,
                                              params.block / params.packed_heads, params.block},
                                     .head_copies = params.packed_heads,
                                     .mean_correction = request.params.integer("correction") != 0,
                                     .knobs = std::move(knobs),
                                     .workspace_bytes = kernels::workspace_bytes(in, params),
                                     .select = [in, params](auto* bits, void* workspace, const auto& stream) {
                                       kernels::flashprefill_select(in, params, bits, workspace, stream);
                                     }});
}

}  // namespace anchor
