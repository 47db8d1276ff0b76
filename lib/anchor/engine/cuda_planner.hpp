#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "anchor/engine/cuda_inputs.hpp"

namespace anchor {

/// Called when the launches of a stage have been enqueued; `stage` is its name.
using StageMark = std::function<void(const char* stage)>;

/// A method's planner on the device, prepared for one layer: memory is taken, shapes are checked.
class CudaPlanner {
 public:
  virtual ~CudaPlanner() = default;

  /// Makes the plan, asynchronously on the inputs' stream.
  virtual void run(const StageMark& mark) = 0;
  /// Where the lists are; their contents are the last run's.
  virtual const kernels::PlanParams& plan() const = 0;
};

/// Prepares the planner of a method for query rows [begin, end) of the inputs. nullptr if the method, or
/// these parameters of it, have none: it is then planned on the CPU. One row of a table, as in
/// method/registry.cpp.
std::unique_ptr<CudaPlanner> make_cuda_planner(const Method& method, const PlanRequest& request,
                                               const CudaInputs& inputs, std::int64_t begin,
                                               std::int64_t end);

}  // namespace anchor
