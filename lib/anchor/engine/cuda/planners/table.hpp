#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "anchor/engine/cuda/arena.hpp"
#include "anchor/engine/cuda/inputs.hpp"
#include "anchor/mass/curve.hpp"

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
  virtual double rounding() const { return 0; }
};

/// What is to be planned: query rows [begin, end) of the inputs, which outlive the planner.
struct PlanTask {
  const Method& method;
  const PlanRequest& request;
  const CudaInputs& inputs;
  std::int64_t begin, end;
};

/// nullptr if no kernel takes these parameters or shapes: the plan is then made on the CPU.
using MakePlanner = std::unique_ptr<CudaPlanner>(const PlanTask& task);
/// Hands the exact curves of these heads to `use`, one after the other. False if no kernel takes these
/// parameters: then nothing was done.
using MakeCurves = bool(const Params& params, const CudaInputs& inputs, std::span<const int> heads,
                        DeviceArena& arena, const UseCurve& use);

/// What a method has on the device: a row of the table. Every planner's file defines its own.
struct CudaMethod {
  const char* name;  ///< Method::name
  MakePlanner* plan;
  MakeCurves* curves = nullptr;  ///< nullptr = curves are computed on the CPU
};

/// All rows (table.cpp).
std::span<const CudaMethod* const> cuda_methods();

/// By the table; nullptr and false also for methods that are not in it, and in layers with a sliding window:
/// the CPU plans those.
std::unique_ptr<CudaPlanner> make_cuda_planner(const PlanTask& task);
bool cuda_curves(const Method& method, const Params& params, const CudaInputs& inputs,
                 std::span<const int> heads, DeviceArena& arena, const UseCurve& use);

}  // namespace anchor
