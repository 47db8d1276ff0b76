#include "anchor/engine/cuda/planners/block_planner.hpp"

#include <algorithm>

#include "anchor/kernels/mass.hpp"
#include "anchor/method/block_plan.hpp"

namespace anchor {

kernels::Tensors whole_prefill(const PlanTask& task) {
  require_square(task.method.name, task.inputs.geometry().rows(task.begin, task.end));
  return task.inputs.tensors(task.begin, task.end);
}

bool planners_support(const kernels::Tensors& inputs) {
  kernels::RowStatsParams rows{inputs};
  rows.anchor_group = 1;
  return kernels::unsupported(rows, kernels::device_info(kernels::current_device())) == nullptr;
}

kernels::DeviceBuffer device_knobs(const PlanTask& task) { return device_knobs(task, task.method.knob); }

kernels::DeviceBuffer device_knobs(const PlanTask& task, std::string_view parameter) {
  std::vector<double> values;
  for (int head = 0; head < task.inputs.geometry().q_heads; ++head)
    values.push_back(task.request.knob(parameter, head));
  kernels::DeviceBuffer buffer(values.size() * sizeof(double));
  buffer.upload(values.data(), buffer.bytes(), task.inputs.stream());
  return buffer;
}

namespace {

class BlockPlanner final : public CudaPlanner {
 public:
  BlockPlanner(const CudaInputs& inputs, BlockSelection selection)
      : stream_(inputs.stream()),
        selection_(std::move(selection)),
        bits_(selection_.grid.bytes()),
        workspace_(std::max(selection_.workspace_bytes,
                            kernels::block_lists_workspace(selection_.grid, selection_.head_copies))),
        lists_(selection_.grid.rows() * selection_.head_copies,
               selection_.grid.rows() * selection_.head_copies * (selection_.grid.blocks / 8 + 1)),
        no_columns_(lists_.rows, 0) {
    no_columns_.offsets.fill(0, stream_);
    run(nullptr);
    if (lists_.grow(stream_)) run(nullptr);
    const kernels::BlockGrid& grid = selection_.grid;
    plan_ = plan_over({.q_tile = grid.q_tile,
                       .kv_tile = grid.kv_tile,
                       .groups = grid.tiles,
                       .packed_heads = selection_.head_copies,
                       .mean_correction = selection_.mean_correction},
                      lists_, no_columns_);
  }

  void run(StageEvents* stages) override {
    selection_.select(bits_.data<std::uint32_t>(), workspace_.data(), stream_);
    kernels::block_lists(selection_.grid, bits_.data<std::uint32_t>(), lists_.params(selection_.head_copies),
                         workspace_.data(), stream_);
    if (stages) stages->add("plan").record(stream_);
  }
  const kernels::PlanParams& plan() const override { return plan_; }

 private:
  const kernels::Stream& stream_;
  BlockSelection selection_;
  kernels::DeviceBuffer bits_, workspace_;
  DeviceLists lists_, no_columns_;
  kernels::PlanParams plan_;
};

}  // namespace

std::unique_ptr<CudaPlanner> make_block_planner(const CudaInputs& inputs, BlockSelection selection) {
  return std::make_unique<BlockPlanner>(inputs, std::move(selection));
}

}  // namespace anchor
