#pragma once

#include <cuda_runtime_api.h>

namespace anchor::kernels {

/// Throws CudaError if a CUDA call failed. `what` names the call.
void check(cudaError_t status, const char* what);
/// Throws CudaError if the launch before it was refused.
void check_launch(const char* kernel);

}  // namespace anchor::kernels
