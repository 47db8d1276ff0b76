#include "anchor/method/flexprefill.hpp"

#include "anchor/engine/cuda/planners/block_planner.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {
namespace {

constexpr int most_probe_rows = 128;

std::unique_ptr<CudaPlanner> make_flexprefill_planner(const PlanTask& task,
                                                      const kernels::FlexPrefillParams& params) {
  const kernels::Tensors in = whole_prefill(task);
  if (official_rounding(task.request.params) || !planners_support(in) || params.block > most_probe_rows)
    return nullptr;
  return make_block_planner(task.inputs, in, params, device_knobs(task), kernels::flexprefill_select,
                            {.grid = {in.shape.q_heads, in.shape.q_len, params.block, params.block}});
}

kernels::FlexPrefillParams budgets(const FlexRule& rule) {
  kernels::FlexPrefillParams params;
  params.block = static_cast<int>(rule.block);
  params.tau = rule.tau;
  params.least_blocks = static_cast<int>(rule.least_blocks);
  params.most_blocks = static_cast<int>(rule.most_blocks);
  return params;
}

/// FlexPrefill (rule: method/flexprefill.cpp).
std::unique_ptr<CudaPlanner> flexprefill(const PlanTask& task) {
  return make_flexprefill_planner(task,
                                  budgets(flex_rule(task.request.params, task.inputs.geometry().kv_len)));
}

/// SharePrefill where nothing is shared; with clusters, heads depend on each other and are planned on the
/// CPU.
std::unique_ptr<CudaPlanner> shareprefill(const PlanTask& task) {
  if (!task.request.params.text("clusters").empty()) return nullptr;
  return make_flexprefill_planner(task,
                                  budgets(share_rule(task.request.params, task.inputs.geometry().kv_len)));
}

/// FlexPrefill's fixed vertical-slash baseline (rule: method/vertical_slash.cpp).
std::unique_ptr<CudaPlanner> vertical_slash_blocks(const PlanTask& task) {
  kernels::FlexPrefillParams params;
  params.block = static_cast<int>(task.request.params.integer("block"));
  params.slash_blocks =
      static_cast<int>((task.request.params.integer("slash") + params.block - 1) / params.block);
  return make_flexprefill_planner(task, params);
}

}  // namespace

extern const CudaMethod flexprefill_on_cuda{"flexprefill", flexprefill};
extern const CudaMethod shareprefill_on_cuda{"shareprefill", shareprefill};
extern const CudaMethod vertical_slash_blocks_on_cuda{"vertical-slash-blocks", vertical_slash_blocks};

}  // namespace anchor
