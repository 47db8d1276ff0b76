#include "anchor/method/spargeattn.hpp"

#include "anchor/engine/cuda/plan.hpp"
#include "anchor/engine/cuda/planners/block_planner.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {
namespace {

/// SpargeAttn's selection (rule: method/spargeattn.cpp). Its mode names the parameter that is the budget.
std::unique_ptr<CudaPlanner> make_planner(const PlanTask& task) {
  const kernels::Tensors in = whole_prefill(task);
  const Params& given = task.request.params;
  check_pv_skip(given.real("pv"));
  if (official_rounding(given) || !planners_support(in)) return nullptr;
  const std::string& mode = given.choice("mode");
  kernels::SpargeAttnParams params;
  params.topk = mode == "topk";
  params.smooth_k = given.integer("smooth_k") != 0;
  params.similarity = sparge_similarity(given);
  return make_block_planner(task.inputs, in, params, device_knobs(task, mode), kernels::spargeattn_select,
                            {.grid = {in.shape.q_heads, in.shape.q_len, 128, 64}});
}

}  // namespace

extern const CudaMethod spargeattn_on_cuda{"spargeattn", make_planner};

}  // namespace anchor
