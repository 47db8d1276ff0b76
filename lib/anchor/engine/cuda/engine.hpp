#pragma once

#include <memory>

#include "anchor/engine/engine.hpp"

namespace anchor {

/// Number of CUDA devices that this build can use; 0 without a driver.
int cuda_device_count();

/// The engine on one CUDA device; becomes the process's current device. Planning runs there for methods that
/// have a planner for it (planners/table.hpp), on the CPU for the others. A data error if the device cannot
/// be used.
std::unique_ptr<Engine> make_cuda_engine(int device);

}  // namespace anchor
