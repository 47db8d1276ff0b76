#include "anchor/engine/cuda/planners/device_lists.hpp"

namespace anchor {
namespace {

constexpr int tile = 128;

/// Sink and local window (rule: method/streaming.cpp); the last `dense_last` queries see every key.
std::unique_ptr<CudaPlanner> make_window_planner(const PlanTask& task, std::int64_t dense_last) {
  const Geometry g = task.inputs.geometry().rows(task.begin, task.end);
  std::vector<std::int32_t> local;
  for (int head = 0; head < g.q_heads; ++head)
    local.push_back(static_cast<std::int32_t>(task.request.knob(task.method.knob, head)));
  kernels::DeviceBuffer windows(local.size() * sizeof(std::int32_t));
  windows.upload(local.data(), windows.bytes(), task.inputs.stream());

  kernels::WindowListsParams params;
  params.q_heads = g.q_heads;
  params.q_len = g.q_len;
  params.kv_len = g.kv_len;
  params.q_start = g.q_start;
  params.sink = task.request.params.integer("sink");
  params.dense_from = g.kv_len - dense_last;
  params.local = windows.data<std::int32_t>();
  ListSelection selection{.plan = {.q_tile = tile,
                                   .kv_tile = tile,
                                   .groups = (g.q_len + tile - 1) / tile,
                                   .local = params.local,
                                   .sink = static_cast<std::int32_t>(params.sink),
                                   .dense_from = static_cast<std::int32_t>(params.dense_from)},
                          .q_heads = g.q_heads,
                          .workspace_bytes = kernels::workspace_bytes(params)};
  selection.kept.push_back(std::move(windows));
  selection.write = [params](const auto& blocks, const auto& columns, void* workspace,
                             const kernels::Stream& stream) {
    kernels::WindowListsParams launch = params;
    launch.blocks = blocks;
    launch.columns = columns;
    kernels::window_lists(launch, workspace, stream);
  };
  return make_list_planner(task.inputs, std::move(selection));
}

std::unique_ptr<CudaPlanner> streaming(const PlanTask& task) { return make_window_planner(task, 0); }

std::unique_ptr<CudaPlanner> tri_shape(const PlanTask& task) {
  return make_window_planner(task, task.request.params.integer("last"));
}

}  // namespace

extern const CudaMethod streaming_on_cuda{"streaming", streaming};
extern const CudaMethod a_shape_on_cuda{"a-shape", streaming};
extern const CudaMethod tri_shape_on_cuda{"tri-shape", tri_shape};

}  // namespace anchor
