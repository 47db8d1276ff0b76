#include "anchor/engine/cuda/planners/block_planner.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {
namespace {

/// MInference's block-sparse head (rule: method/block_sparse.cpp).
std::unique_ptr<CudaPlanner> make_planner(const PlanTask& task) {
  const kernels::Tensors in = whole_prefill(task);
  if (!planners_support(in)) return nullptr;
  kernels::BlockSparseParams params;
  params.block = static_cast<int>(task.request.params.integer("block"));
  params.zero_padded = official_rounding(task.request.params);
  return make_block_planner(task.inputs, in, params, device_knobs(task), kernels::block_sparse_select,
                            {.grid = {in.shape.q_heads, in.shape.q_len, params.block, params.block}});
}

}  // namespace

extern const CudaMethod block_sparse_on_cuda{"block-sparse", make_planner};

}  // namespace anchor
