#pragma once

#include "anchor/engine/cuda/inputs.hpp"

namespace anchor {

/// Enqueues the two QK passes for query heads [first, first + count) of one KV head: lse [count, q_len],
/// column_mass [count, groups, kv_len] and block_mass [count, tiles, blocks] in device memory; what is
/// nullptr is not made (lse always is). `workspace` as kernels::workspace_bytes says, for block masses only.
void launch_mass(const CudaInputs& inputs, int first, int count, const MassGranularity& granularity,
                 float* lse, float* column_mass, float* block_mass, void* workspace);

/// Exact attention mass of one query head on the device: two QK passes, sums in float32.
MassMap cuda_mass_map(const CudaInputs& inputs, int head, const MassGranularity& granularity);

/// Row maxima of one query head (Engine::row_maxima). q_start must be a multiple of the group.
RowMaxima cuda_row_maxima(const CudaInputs& inputs, int head, std::int64_t block, std::int64_t group);

}  // namespace anchor
