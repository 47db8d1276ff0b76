#pragma once

#include <functional>

#include "anchor/engine/cuda/planners/device_lists.hpp"
#include "anchor/engine/cuda/planners/table.hpp"

namespace anchor {

/// The inputs of a planner of whole prefills. A data error if the task is not one.
kernels::Tensors whole_prefill(const PlanTask& task);

/// Do the planner kernels take these inputs? The strictest of them, row_stats, decides.
bool planners_support(const kernels::Tensors& inputs);

/// The method's knob of every query head, or another parameter, on the device.
kernels::DeviceBuffer device_knobs(const PlanTask& task);
kernels::DeviceBuffer device_knobs(const PlanTask& task, std::string_view parameter);

/// How a method selects blocks.
struct BlockSelection {
  kernels::BlockGrid grid;
  int head_copies = 1;  ///< plan heads that share one head of the grid
  bool mean_correction = false;
  kernels::DeviceBuffer knobs = {};  ///< kept for the launches
  std::size_t workspace_bytes = 0;
  std::function<void(std::uint32_t* bits, void* workspace, const kernels::Stream& stream)> select = {};
};

/// The planner of a method whose plan is aligned blocks.
std::unique_ptr<CudaPlanner> make_block_planner(const CudaInputs& inputs, BlockSelection selection);

/// The same for a selection by one launch that sets the grid's bits and reads `params.knob`, one value per
/// query head: `knobs`.
template <class Params>
std::unique_ptr<CudaPlanner> make_block_planner(const CudaInputs& inputs, const kernels::Tensors& tensors,
                                                Params params, kernels::DeviceBuffer knobs,
                                                void (*select)(const kernels::Tensors&, const Params&,
                                                               std::uint32_t* bits, void* workspace,
                                                               const kernels::Stream&),
                                                BlockSelection selection) {
  params.knob = knobs.template data<double>();
  selection.knobs = std::move(knobs);
  selection.workspace_bytes = kernels::workspace_bytes(tensors, params);
  selection.select = [=](std::uint32_t* bits, void* workspace, const kernels::Stream& stream) {
    select(tensors, params, bits, workspace, stream);
  };
  return make_block_planner(inputs, std::move(selection));
}

}  // namespace anchor
