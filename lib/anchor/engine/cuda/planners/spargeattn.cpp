#include "anchor/method/spargeattn.hpp"

#include "anchor/engine/cuda/plan.hpp"
#include "anchor/engine/cuda/planners/block_planner.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {

/// SpargeAttn's selection (rule: method/spargeattn.cpp).
std::unique_ptr<CudaPlanner> make_spargeattn_planner(const PlanRequest& request, const CudaInputs& inputs,
                                                     std::int64_t begin, std::int64_t end) {
  const kernels::PlannerInputs in = planner_inputs("spargeattn", inputs, begin, end);
  check_pv_skip(request.params.real("pv"));
  if (official_rounding(request.params) || !planners_support(in)) return nullptr;
  kernels::SpargeAttnParams params;
  params.topk = request.params.choice("mode") == "topk";
  params.smooth_k = request.params.integer("smooth_k") != 0;
  params.similarity = sparge_similarity(request.params);
  kernels::DeviceBuffer knobs = device_knobs(request, request.params.choice("mode"), inputs);
  params.knob = knobs.data<double>();
  return make_block_planner(inputs, {.grid = {in.shape.q_heads, in.shape.q_len, 128, 64},
                                     .knobs = std::move(knobs),
                                     .workspace_bytes = kernels::workspace_bytes(in, params),
                                     .select = [in, params](auto* bits, void* workspace, const auto& stream) {
                                       kernels::spargeattn_select(in, params, bits, workspace, stream);
                                     }});
}

}  // namespace anchor
