#include "anchor/engine/cuda/planners/block_planner.hpp"

namespace anchor {
namespace {

/// Sink and local window (rule: method/streaming.cpp).
class WindowPlanner final : public CudaPlanner {
 public:
  WindowPlanner(const CudaInputs& inputs, std::vector<std::int32_t> local, kernels::WindowListsParams params)
      : stream_(inputs.stream()),
        params_(params),
        rows_(params.q_heads * ((params.q_len + tile - 1) / tile)),
        local_(local.size() * sizeof(std::int32_t)),
        blocks_(rows_, rows_ * 64),
        columns_(rows_, rows_ * 64) {
    local_.upload(local.data(), local_.bytes(), stream_);
    params_.local = local_.data<std::int32_t>();
    workspace_ = kernels::DeviceBuffer(kernels::workspace_bytes(params_));
    run(nullptr);
    const bool blocks_grew = blocks_.grow(stream_), columns_grew = columns_.grow(stream_);
    if (blocks_grew || columns_grew) run(nullptr);
    plan_ = plan_of(blocks_, columns_, tile, tile, rows_ / params.q_heads);
    plan_.local = params_.local;
    plan_.sink = static_cast<std::int32_t>(params_.sink);
    plan_.dense_from = static_cast<std::int32_t>(params_.dense_from);
  }

  void run(StageEvents* stages) override {
    params_.blocks = blocks_.params();
    params_.columns = columns_.params();
    kernels::window_lists(params_, workspace_.data(), stream_);
    if (stages) stages->add("plan").record(stream_);
  }
  const kernels::PlanParams& plan() const override { return plan_; }
  double rounding() const override { return 0; }

 private:
  static constexpr int tile = 128;
  const kernels::Stream& stream_;
  kernels::WindowListsParams params_;
  std::int64_t rows_;
  kernels::DeviceBuffer local_, workspace_;
  DeviceLists blocks_, columns_;
  kernels::PlanParams plan_;
};

std::unique_ptr<CudaPlanner> window_planner(const PlanRequest& request, const CudaInputs& inputs,
                                            std::int64_t begin, std::int64_t end, std::int64_t dense_last) {
  const Geometry g = inputs.geometry().rows(begin, end);
  std::vector<std::int32_t> local;
  for (int head = 0; head < g.q_heads; ++head)
    local.push_back(static_cast<std::int32_t>(request.knob("local", head)));
  kernels::WindowListsParams params;
  params.q_heads = g.q_heads;
  params.q_len = g.q_len;
  params.kv_len = g.kv_len;
  params.q_start = g.q_start;
  params.sink = request.params.integer("sink");
  params.dense_from = g.kv_len - dense_last;
  return std::make_unique<WindowPlanner>(inputs, std::move(local), params);
}

}  // namespace

std::unique_ptr<CudaPlanner> make_streaming_planner(const PlanRequest& request, const CudaInputs& inputs,
                                                    std::int64_t begin, std::int64_t end) {
  return window_planner(request, inputs, begin, end, 0);
}

std::unique_ptr<CudaPlanner> make_tri_shape_planner(const PlanRequest& request, const CudaInputs& inputs,
                                                    std::int64_t begin, std::int64_t end) {
  return window_planner(request, inputs, begin, end, request.params.integer("last"));
}

}  // namespace anchor
