#include "anchor/method/flexprefill.hpp"

#include "anchor/engine/cuda/planners/block_planner.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {
namespace {

constexpr int most_probe_rows = 128;

std::unique_ptr<CudaPlanner> flexprefill_planner(std::string_view method, const std::string& knob,
                                                 const PlanRequest& request, const CudaInputs& inputs,
                                                 kernels::FlexPrefillParams params, std::int64_t begin,
                                                 std::int64_t end) {
  const kernels::PlannerInputs in = planner_inputs(method, inputs, begin, end);
  if (official_rounding(request.params) || !planners_support(in) || params.block > most_probe_rows)
    return nullptr;
  kernels::DeviceBuffer knobs = device_knobs(request, knob, inputs);
  params.knob = knobs.data<double>();
  return make_block_planner(inputs, {.grid = {in.shape.q_heads, in.shape.q_len, params.block, params.block},
                                     .knobs = std::move(knobs),
                                     .workspace_bytes = kernels::workspace_bytes(in, params),
                                     .select = [in, params](auto* bits, void* workspace, const auto& stream) {
                                       kernels::flexprefill_select(in, params, bits, workspace, stream);
                                     }});
}

kernels::FlexPrefillParams budgets(const FlexRule& rule) {
  kernels::FlexPrefillParams params;
  params.block = static_cast<int>(rule.block);
  params.tau = rule.tau;
  params.least_blocks = static_cast<int>(rule.least_blocks);
  params.most_blocks = static_cast<int>(rule.most_blocks);
  return params;
}

}  // namespace

/// FlexPrefill (rule: method/flexprefill.cpp).
std::unique_ptr<CudaPlanner> make_flexprefill_planner(const PlanRequest& request, const CudaInputs& inputs,
                                                      std::int64_t begin, std::int64_t end) {
  const FlexRule rule = flex_rule(request.params, inputs.geometry().kv_len);
  return flexprefill_planner("flexprefill", "gamma", request, inputs, budgets(rule), begin, end);
}

/// SharePrefill where nothing is shared; with clusters, heads depend on each other and are planned on the
/// CPU.
std::unique_ptr<CudaPlanner> make_shareprefill_planner(const PlanRequest& request, const CudaInputs& inputs,
                                                       std::int64_t begin, std::int64_t end) {
  if (!request.params.text("clusters").empty()) return nullptr;
  const FlexRule rule = share_rule(request.params, inputs.geometry().kv_len);
  return flexprefill_planner("shareprefill", "gamma", request, inputs, budgets(rule), begin, end);
}

/// FlexPrefill's fixed vertical-slash baseline (rule: method/vertical_slash.cpp).
std::unique_ptr<CudaPlanner> make_vertical_slash_blocks_planner(const PlanRequest& request,
                                                                const CudaInputs& inputs, std::int64_t begin,
                                                                std::int64_t end) {
  kernels::FlexPrefillParams params;
  params.block = static_cast<int>(request.params.integer("block"));
  params.slash_blocks = static_cast<int>((request.params.integer("slash") + params.block - 1) / params.block);
  return flexprefill_planner("vertical-slash-blocks", "vertical", request, inputs, params, begin, end);
}

}  // namespace anchor
