#include "anchor/engine/cuda/planners/block_planner.hpp"

namespace anchor {

/// The block oracle (rule: method/mass_oracles.cpp).
std::unique_ptr<CudaPlanner> make_block_oracle_planner(const PlanRequest& request, const CudaInputs& inputs,
                                                       std::int64_t begin, std::int64_t end) {
  const kernels::PlannerInputs in = planner_inputs("block-oracle", inputs, begin, end);
  kernels::BlockOracleParams params;
  params.block = static_cast<int>(request.params.integer("block"));
  params.force_diagonal = request.params.integer("force_diagonal") != 0;
  if (!planners_support(in) || kernels::unsupported(in, params)) return nullptr;
  kernels::DeviceBuffer knobs = device_knobs(request, "mass", inputs);
  params.knob = knobs.data<double>();
  return make_block_planner(inputs, {.grid = {in.shape.q_heads, in.shape.q_len, params.block, params.block},
                                     .knobs = std::move(knobs),
                                     .workspace_bytes = kernels::workspace_bytes(in, params),
                                     .select = [in, params](auto* bits, void* workspace, const auto& stream) {
                                       kernels::block_oracle_select(in, params, bits, workspace, stream);
                                     }});
}

}  // namespace anchor
