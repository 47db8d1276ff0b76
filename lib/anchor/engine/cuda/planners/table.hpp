#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "anchor/engine/cuda/inputs.hpp"

namespace anchor {

/// One event after each stage of a run.
struct StageEvents {
  kernels::Event& add(const char* stage) { return marks.emplace_back(stage, kernels::Event()).second; }
  std::vector<std::pair<std::string, kernels::Event>> marks;
};

/// A method's planner on the device, prepared for one layer: shapes are checked, memory is taken, and the
/// plan has been made once (which is how the lists' lengths are known).
class CudaPlanner {
 public:
  virtual ~CudaPlanner() = default;

  /// Makes the plan, asynchronously on the inputs' stream, with events after its stages if they are wanted.
  virtual void run(StageEvents* stages) = 0;
  /// Can attend() stand for run() and this launch of attention under the plan?
  virtual bool attends(const kernels::SparseFwdParams&) const { return false; }
  /// Plan and output at once, which shares the work that both need; with events after the stages.
  virtual void attend(const kernels::SparseFwdParams&, StageEvents*) {}
  /// Where the lists are; their contents are the last run's.
  virtual const kernels::PlanParams& plan() const = 0;
  /// Bound of its scores' error (Pipeline::knob_rounding).
  virtual double rounding() const = 0;
};

/// Prepares the planner of a method for query rows [begin, end) of the inputs. nullptr if the method, or
/// these parameters of it, have none: it is then planned on the CPU. One row of a table, as in
/// method/registry.cpp.
std::unique_ptr<CudaPlanner> make_cuda_planner(const Method& method, const PlanRequest& request,
                                               const CudaInputs& inputs, std::int64_t begin,
                                               std::int64_t end);

}  // namespace anchor
