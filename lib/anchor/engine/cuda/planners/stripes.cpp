#include <algorithm>

#include "anchor/engine/cuda/planners/anchor.hpp"

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
  std::vector<std::int32_t> windows;
  for (int head = 0; head < params.shape.q_heads; ++head) {
    const Params& own = request.of(head);
    if (own.choice("score") == "rows") params.row_scored.add(head);
    if (own.choice("score") == "antidiagonal") params.antidiagonal.add(head);
    windows.push_back(static_cast<std::int32_t>(std::min(own.integer("window"), params.shape.kv_len)));
  }
  if (std::ranges::all_of(windows, [](std::int32_t window) { return window == 0; })) windows.clear();
  return make_list_planner(params, request, inputs, windows);
}

}  // namespace anchor
