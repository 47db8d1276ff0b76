#pragma once

#include "common/planners/xattention.hpp"

namespace anchor::kernels {

/// A warp's tile of head `local` of the chunk: use(block, mass) for each causal block, by one lane; mass is
/// the softmax over all cells, summed over the block and the tile's cell rows. row_lse: shared memory of the
/// warp's own, one number for each cell row.
template <class Use>
__device__ __forceinline__ void block_masses(const XAttentionCells& cells, int local, int tile,
                                             float* row_lse, const Use& use) {
  const int lane = threadIdx.x % 32, causal = tile + 1, rows = cells.rows(tile);
  const float* lse =
      cells.lse + (static_cast<std::int64_t>(local) * cells.count + tile * cells.per_block) * cells.blocks;
  for (int x = 0; x < rows; ++x) {
    const float* of_row = lse + static_cast<std::int64_t>(x) * cells.blocks;
    float top = -INFINITY, sum = 0;
    for (int c = lane; c < causal; c += 32) top = fmaxf(top, of_row[c]);
    for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, step));
    for (int c = lane; c < causal; c += 32) sum += exp2f(of_row[c] - top);
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (lane == 0) row_lse[x] = top + log2f(sum);
  }
  __syncwarp();
  for (int c = lane; c < causal; c += 32) {
    float mass = 0;
    for (int x = 0; x < rows; ++x)
      mass += exp2f(lse[static_cast<std::int64_t>(x) * cells.blocks + c] - row_lse[x]);
    use(c, mass);
  }
}

}  // namespace anchor::kernels
