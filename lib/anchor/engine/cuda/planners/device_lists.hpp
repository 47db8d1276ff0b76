#pragma once

#include <functional>
#include <vector>

#include "anchor/engine/cuda/planners/table.hpp"
#include "anchor/kernels/planners.hpp"

namespace anchor {

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

/// `plan` over these lists of blocks and columns; the lists keep the memory.
kernels::PlanParams plan_over(kernels::PlanParams plan, const DeviceLists& blocks,
                              const DeviceLists& columns);

/// How a method writes lists of blocks and of columns.
struct ListSelection {
  kernels::PlanParams plan;  ///< all but the lists
  int q_heads = 1;
  std::int64_t blocks_a_row = 64, columns_a_row = 64;  ///< first guess; the lists grow
  std::vector<kernels::DeviceBuffer> kept = {};        ///< for the launches
  std::size_t workspace_bytes = 0;
  std::function<void(const kernels::BlockListsParams& blocks, const kernels::BlockListsParams& columns,
                     void* workspace, const kernels::Stream& stream)>
      write = {};
};

/// The planner of a method whose launch writes both lists.
std::unique_ptr<CudaPlanner> make_list_planner(const CudaInputs& inputs, ListSelection selection);

}  // namespace anchor
