#include "anchor/engine/cuda/planners/block_planner.hpp"

#include <algorithm>

#include "anchor/kernels/mass.hpp"
#include "anchor/method/block_plan.hpp"

namespace anchor {

kernels::PlannerInputs planner_inputs(std::string_view method, const CudaInputs& inputs, std::int64_t begin,
                                      std::int64_t end) {
  require_square(method, inputs.geometry().rows(begin, end));
  kernels::PlannerInputs made;
  made.shape = inputs.shape(begin, end);
  made.q = inputs.q();
  made.k = inputs.k();
  made.stride_q_head = inputs.stride_q_head();
  made.stride_kv_head = inputs.stride_kv_head();
  made.stride_q_token = made.stride_kv_token = inputs.geometry().head_dim;
  return made;
}

bool planners_support(const kernels::PlannerInputs& inputs) {
  kernels::RowStatsParams rows{.shape = inputs.shape, .q = inputs.q, .k = inputs.k};
  rows.stride_q_head = inputs.stride_q_head;
  rows.stride_q_token = inputs.stride_q_token;
  rows.stride_k_head = inputs.stride_kv_head;
  rows.stride_k_token = inputs.stride_kv_token;
  rows.anchor_group = 1;
  return kernels::unsupported(rows, kernels::device_info(kernels::current_device())) == nullptr;
}

kernels::DeviceBuffer device_knobs(const PlanRequest& request, const std::string& knob,
                                   const CudaInputs& inputs) {
  std::vector<double> values;
  for (int head = 0; head < inputs.geometry().q_heads; ++head) values.push_back(request.knob(knob, head));
  kernels::DeviceBuffer buffer(values.size() * sizeof(double));
  buffer.upload(values.data(), buffer.bytes(), inputs.stream());
  return buffer;
}

DeviceLists::DeviceLists(std::int64_t plan_rows, std::int64_t capacity)
    : rows(plan_rows),
      offsets(static_cast<std::size_t>(plan_rows + 1) * sizeof(std::int64_t)),
      items(static_cast<std::size_t>(capacity) * sizeof(std::int32_t)) {}

kernels::BlockListsParams DeviceLists::params(int head_copies) const {
  return {offsets.data<std::int64_t>(), items.data<std::int32_t>(),
          static_cast<std::int64_t>(items.bytes() / sizeof(std::int32_t)), head_copies};
}

bool DeviceLists::grow(const kernels::Stream& stream) {
  std::int64_t needed = 0;
  offsets.download(&needed, sizeof needed, stream, static_cast<std::size_t>(rows) * sizeof needed);
  if (needed <= params().capacity) return false;
  items = {};  // the old list goes first: both may not fit
  items = kernels::DeviceBuffer(static_cast<std::size_t>(needed) * sizeof(std::int32_t));
  return true;
}

kernels::PlanParams plan_of(const DeviceLists& blocks, const DeviceLists& columns, int q_tile, int kv_tile,
                            std::int64_t groups) {
  return {.q_tile = q_tile,
          .kv_tile = kv_tile,
          .groups = groups,
          .block_offsets = blocks.offsets.data<std::int64_t>(),
          .blocks = blocks.items.data<std::int32_t>(),
          .column_offsets = columns.offsets.data<std::int64_t>(),
          .columns = columns.items.data<std::int32_t>(),
          .block_capacity = blocks.params().capacity,
          .column_capacity = columns.params().capacity};
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
    plan_ = plan_of(lists_, no_columns_, grid.q_tile, grid.kv_tile, grid.tiles);
    plan_.mean_correction = selection_.mean_correction;
    plan_.packed_heads = selection_.head_copies;
  }

  void run(StageEvents* stages) override {
    selection_.select(bits_.data<std::uint32_t>(), workspace_.data(), stream_);
    kernels::block_lists(selection_.grid, bits_.data<std::uint32_t>(), lists_.params(selection_.head_copies),
                         workspace_.data(), stream_);
    if (stages) stages->add("plan").record(stream_);
  }
  const kernels::PlanParams& plan() const override { return plan_; }
  double rounding() const override { return 0; }

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
