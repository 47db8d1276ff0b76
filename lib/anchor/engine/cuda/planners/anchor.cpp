#include "anchor/engine/cuda/planners/anchor.hpp"

#include "anchor/engine/cuda/planners/threshold_planner.hpp"
#include "anchor/method/param_specs.hpp"

namespace anchor {

std::optional<kernels::AnchorParams> anchor_params(const Params& given, const CudaInputs& inputs,
                                                   std::int64_t begin, std::int64_t end) {
  // The ablations and the released rounding are planned on the CPU.
  if (given.choice("anchor") != "window" || official_rounding(given)) return std::nullopt;
  kernels::AnchorParams params{{inputs.tensors(begin, end)}};
  params.block = static_cast<int>(given.integer("block"));
  params.step = static_cast<int>(given.integer("step"));
  params.v4 = given.choice("mode") == "v4";
  if (given.is_word("tail")) {
    const std::string& tail = given.choice("tail");
    params.dense_tail = tail == "dense" || (tail == "auto" && params.v4);
  }
  return params;
}

namespace {

/// AnchorAttention (rule: method/anchor.cpp).
std::unique_ptr<CudaPlanner> make_planner(const PlanTask& task) {
  const std::optional<kernels::AnchorParams> params =
      anchor_params(task.request.params, task.inputs, task.begin, task.end);
  const kernels::DeviceInfo device = kernels::device_info(kernels::current_device());
  if (!params || kernels::unsupported(*params, device) != nullptr) return nullptr;
  return std::make_unique<ThresholdPlanner<kernels::AnchorParams>>(task, *params);
}

}  // namespace

extern const CudaMethod anchor_on_cuda{"anchor", make_planner, anchor_curves};

}  // namespace anchor
