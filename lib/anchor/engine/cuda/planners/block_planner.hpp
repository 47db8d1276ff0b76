#pragma once

#include <functional>

#include "anchor/engine/cuda/planners/table.hpp"
#include "anchor/kernels/planners.hpp"

namespace anchor {

/// What planners read of a whole layer. A data error unless it is a whole prefill and [begin, end) all of it.
kernels::PlannerInputs planner_inputs(std::string_view method, const CudaInputs& inputs, std::int64_t begin,
                                      std::int64_t end);

/// Why no planner kernel takes these inputs: what row_stats, the strictest of them, says; nullptr if they do.
bool planners_support(const kernels::PlannerInputs& inputs);

/// The knob of every query head on the device.
kernels::DeviceBuffer device_knobs(const PlanRequest& request, const std::string& knob,
                                   const CudaInputs& inputs);

/// One list per plan row on the device, as long as the last run needed.
struct DeviceLists {
  DeviceLists(std::int64_t plan_rows, std::int64_t capacity);
  /// Where launches write.
  kernels::BlockListsParams params(int head_copies = 1) const;
  /// Takes the memory that the lists of the last run need; false if they already fitted.
  bool grow(const kernels::Stream& stream);

  std::int64_t rows;
  kernels::DeviceBuffer offsets, items;
};

/// The plan whose rows list these blocks and columns; the lists keep the memory.
kernels::PlanParams plan_of(const DeviceLists& blocks, const DeviceLists& columns, int q_tile, int kv_tile,
                            std::int64_t groups);

/// How a method selects blocks.
struct BlockSelection {
  kernels::BlockGrid grid;
  int head_copies = 1;  ///< plan heads that share one head of the grid
  bool mean_correction = false;
  kernels::DeviceBuffer knobs;  ///< kept for the launches
  std::size_t workspace_bytes = 0;
  std::function<void(std::uint32_t* bits, void* workspace, const kernels::Stream& stream)> select;
};

/// The planner of a method whose plan is aligned blocks.
std::unique_ptr<CudaPlanner> make_block_planner(const CudaInputs& inputs, BlockSelection selection);

}  // namespace anchor
