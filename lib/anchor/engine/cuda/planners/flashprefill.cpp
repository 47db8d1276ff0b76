#include "anchor/method/flashprefill.hpp"

#include "anchor/engine/cuda/planners/block_planner.hpp"

namespace anchor {
namespace {

/// FlashPrefill's selection (rule: method/flashprefill.cpp).
std::unique_ptr<CudaPlanner> make_planner(const PlanTask& task) {
  const kernels::Tensors in = whole_prefill(task);
  const Params& given = task.request.params;
  kernels::FlashPrefillParams params;
  params.block = static_cast<int>(given.integer("block"));
  params.packed_heads = flash_packed_heads(task.inputs.geometry(), given);
  check_flash_knobs(task.request, task.inputs.geometry(), params.packed_heads);
  params.sink = given.integer("sink");
  params.window = given.integer("window");
  params.exact = given.choice("score") == "exact";
  if (!planners_support(in) || kernels::unsupported(in, params)) return nullptr;
  return make_block_planner(task.inputs, in, params, device_knobs(task), kernels::flashprefill_select,
                            {.grid = {in.shape.q_heads / params.packed_heads, in.shape.q_len,
                                      params.block / params.packed_heads, params.block},
                             .head_copies = params.packed_heads,
                             .mean_correction = given.integer("correction") != 0});
}

}  // namespace

extern const CudaMethod flashprefill_on_cuda{"flashprefill", make_planner};

}  // namespace anchor
