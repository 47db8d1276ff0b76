#include "anchor/engine/cuda/planners/block_planner.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {

/// MInference's block-sparse head (rule: method/block_sparse.cpp).
std::unique_ptr<CudaPlanner> make_block_sparse_planner(const PlanRequest& request, const CudaInputs& inputs,
                                                       std::int64_t begin, std::int64_t end) {
  const kernels::PlannerInputs in = planner_inputs("block-sparse", inputs, begin, end);
  if (!planners_support(in)) return nullptr;
  kernels::BlockSparseParams params;
  params.block = static_cast<int>(request.params.integer("block"));
  params.zero_padded = official_rounding(request.params);
  kernels::DeviceBuffer knobs = device_knobs(request, "topk", inputs);
  params.knob = knobs.data<double>();
  return make_block_planner(inputs, {.grid = {in.shape.q_heads, in.shape.q_len, params.block, params.block},
                                     .knobs = std::move(knobs),
                                     .workspace_bytes = kernels::workspace_bytes(in, params),
                                     .select = [in, params](auto* bits, void* workspace, const auto& stream) {
                                       kernels::block_sparse_select(in, params, bits, workspace, stream);
                                     }});
}

}  // namespace anchor
