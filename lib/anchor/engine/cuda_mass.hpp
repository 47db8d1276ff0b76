#pragma once

#include "anchor/engine/cuda_inputs.hpp"

namespace anchor {

/// Exact attention mass of one query head on the device: two QK passes, sums in float32.
MassMap cuda_mass_map(const CudaInputs& inputs, int head, const MassGranularity& granularity);

}  // namespace anchor
