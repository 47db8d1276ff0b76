#include <algorithm>

#include "anchor/engine/cuda/planners/threshold_planner.hpp"

namespace anchor {
namespace {

/// The stripes of every tile (rule: method/stripes.cpp).
std::unique_ptr<CudaPlanner> make_planner(const PlanTask& task) {
  kernels::StripesParams params{{task.inputs.tensors(task.begin, task.end)}};
  if (params.shape.q_heads > kernels::HeadSet::most) return nullptr;
  params.block = static_cast<int>(task.request.params.integer("block"));
  params.sink = static_cast<int>(task.request.params.integer("sink"));
  params.mean_correction = task.request.params.integer("correction") != 0;
  std::vector<std::int32_t> windows;
  for (int head = 0; head < params.shape.q_heads; ++head) {
    const Params& own = task.request.of(head);
    if (own.choice("score") == "peak") return nullptr;  // no kernel has it yet
    if (own.choice("score") == "rows") params.row_scored.add(head);
    if (own.choice("score") == "antidiagonal") params.antidiagonal.add(head);
    windows.push_back(static_cast<std::int32_t>(std::min(own.integer("window"), params.shape.kv_len)));
  }
  if (kernels::unsupported(params, kernels::device_info(kernels::current_device())) != nullptr)
    return nullptr;
  kernels::DeviceBuffer kept;
  if (std::ranges::any_of(windows, [](std::int32_t window) { return window > 0; })) {
    kept = kernels::DeviceBuffer(windows.size() * sizeof(std::int32_t));
    kept.upload(windows.data(), kept.bytes(), task.inputs.stream());
    params.windows = kept.data<std::int32_t>();
  }
  return std::make_unique<ThresholdPlanner<kernels::StripesParams>>(task, params, std::move(kept));
}

}  // namespace

extern const CudaMethod stripes_on_cuda{"stripes", make_planner};

}  // namespace anchor
