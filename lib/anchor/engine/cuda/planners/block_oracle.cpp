#include "anchor/engine/cuda/planners/block_planner.hpp"

namespace anchor {
namespace {

/// The block oracle (rule: method/mass_oracles.cpp).
std::unique_ptr<CudaPlanner> make_planner(const PlanTask& task) {
  const kernels::Tensors in = whole_prefill(task);
  kernels::BlockOracleParams params;
  params.block = static_cast<int>(task.request.params.integer("block"));
  params.force_diagonal = task.request.params.integer("force_diagonal") != 0;
  if (!planners_support(in) || kernels::unsupported(in, params)) return nullptr;
  return make_block_planner(task.inputs, in, params, device_knobs(task), kernels::block_oracle_select,
                            {.grid = {in.shape.q_heads, in.shape.q_len, params.block, params.block}});
}

}  // namespace

extern const CudaMethod block_oracle_on_cuda{"block-oracle", make_planner};

}  // namespace anchor
