#pragma once

#include <memory>

#include "anchor/engine/cuda/inputs.hpp"

namespace anchor {

/// Planning and attention of a method on the device (or planning on the CPU where the method has no planner
/// there; a plan that depends on shapes alone is made once).
std::unique_ptr<Pipeline> make_cuda_pipeline(const Method& method, const PlanRequest& request,
                                             const CudaInputs& inputs);

/// cuDNN's dense attention.
std::unique_ptr<Pipeline> make_cudnn_pipeline(const CudaInputs& inputs);

}  // namespace anchor
