#include "anchor/engine/anchor_cuda.hpp"

namespace anchor {

/// The stripes of every tile (rule: method/stripes.cpp).
std::unique_ptr<CudaPlanner> make_stripes_planner(const PlanRequest& request, const CudaInputs& inputs,
                                                  std::int64_t begin, std::int64_t end) {
  kernels::AnchorParams params = layer_params(inputs, begin, end);
  if (params.shape.q_heads > kernels::HeadSet::most) return nullptr;
  params.block = static_cast<int>(request.params.integer("block"));
  params.step = 1;
  params.sink = static_cast<int>(request.params.integer("sink"));
  params.mean_correction = request.params.integer("correction") != 0;
  for (int head = 0; head < params.shape.q_heads; ++head) {
    const Params& own = request.of(head);
    if (own.choice("score") == "antidiagonal" || own.integer("window") > 0) return nullptr;
    if (own.choice("score") == "rows") params.row_scored.add(head);
  }
  return make_list_planner(params, request, inputs);
}

}  // namespace anchor
