#include "anchor/engine/cuda/planners/device_lists.hpp"

namespace anchor {

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

kernels::PlanParams plan_over(kernels::PlanParams plan, const DeviceLists& blocks,
                              const DeviceLists& columns) {
  plan.block_offsets = blocks.offsets.data<std::int64_t>();
  plan.blocks = blocks.items.data<std::int32_t>();
  plan.column_offsets = columns.offsets.data<std::int64_t>();
  plan.columns = columns.items.data<std::int32_t>();
  plan.block_capacity = blocks.params().capacity;
  plan.column_capacity = columns.params().capacity;
  return plan;
}

namespace {

class ListPlanner final : public CudaPlanner {
 public:
  ListPlanner(const CudaInputs& inputs, ListSelection selection)
      : stream_(inputs.stream()),
        selection_(std::move(selection)),
        workspace_(selection_.workspace_bytes),
        blocks_(rows(), rows() * selection_.blocks_a_row),
        columns_(rows(), rows() * selection_.columns_a_row) {
    run(nullptr);
    const bool blocks_grew = blocks_.grow(stream_), columns_grew = columns_.grow(stream_);
    if (blocks_grew || columns_grew) run(nullptr);
    plan_ = plan_over(selection_.plan, blocks_, columns_);
  }

  void run(StageEvents* stages) override {
    selection_.write(blocks_.params(), columns_.params(), workspace_.data(), stream_);
    if (stages) stages->add("plan").record(stream_);
  }
  const kernels::PlanParams& plan() const override { return plan_; }

 private:
  std::int64_t rows() const { return selection_.q_heads * selection_.plan.groups; }

  const kernels::Stream& stream_;
  ListSelection selection_;
  kernels::DeviceBuffer workspace_;
  DeviceLists blocks_, columns_;
  kernels::PlanParams plan_;
};

}  // namespace

std::unique_ptr<CudaPlanner> make_list_planner(const CudaInputs& inputs, ListSelection selection) {
  return std::make_unique<ListPlanner>(inputs, std::move(selection));
}

}  // namespace anchor
