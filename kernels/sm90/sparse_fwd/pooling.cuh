#pragma once

#include "common/anchor/layout.hpp"
#include "common/anchor/pool.cuh"
#include "device/mma.cuh"
#include "device/ptx.cuh"
#include "sm90/sparse_fwd/config.cuh"

namespace anchor::kernels::sm90 {

/// What AnchorAttention's first pass leaves for the identification: a tile is a pooled block there, and its
/// record says which pooled row it is.
struct Pooling {
  AnchorLayout layout;

  /// The mean query of a tile from its rows in shared memory: each of the eight warps adds up head_dim / 8
  /// columns on the tensor cores, as a product with ones.
  template <Element element, int head_dim>
  __device__ __forceinline__ void pool_queries(const unsigned char* queries, const Tile& tile) const {
    constexpr int columns = head_dim / kConsumerWarps;  // 8 or 16, of one warp
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 - kProducers / 32;
    const int column = warp * columns;
    const unsigned base = shared_address(queries) + column / 64 * (kTileRows * 128);
    const unsigned chunk = column % 64 / 8;
    constexpr unsigned one = element == Element::bf16 ? 0x3f803f80u : 0x3c003c00u;  // twice
    const unsigned ones[4] = {one, one, one, one};
    float sum[columns / 8][4] = {};
#pragma unroll
    for (int row = 0; row < kTileRows; row += 256 / columns) {
      // Four 8x8 matrices: rows [row, row + 16) of two column octets, or [row, row + 32) of one.
      unsigned part[4];
      const int matrix = lane / 8, of = row + lane % 8;
      if (columns == 16)
        load_matrices_transposed(
            part, base + (of + matrix % 2 * 8) * 128 + (((chunk + matrix / 2) ^ (lane % 8)) * 16));
      else
        load_matrices_transposed(part, base + (of + matrix * 8) * 128 + ((chunk ^ (lane % 8)) * 16));
#pragma unroll
      for (int i = 0; i < 2; ++i)
        multiply<element>(sum[i % (columns / 8)], ones, part[2 * i], part[2 * i + 1]);
    }
    if (lane >= 4) return;
    const PooledRow place(tile.pooled_row);
#pragma unroll
    for (int i = 0; i < columns / 8; ++i)
      place.store_pair<element>(layout, head_dim, column + 8 * i + 2 * lane,
                                sum[i][0] / static_cast<float>(tile.rows),
                                sum[i][1] / static_cast<float>(tile.rows));
  }

  /// A warp's part of the tile's mean row anchor, from the sums of the threads that own rows.
  __device__ __forceinline__ void pool_anchors(float sum, const Tile& tile) const {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 - kProducers / 32;
#pragma unroll
    for (int step_lanes = 4; step_lanes < 32; step_lanes *= 2) sum += __shfl_xor_sync(~0u, sum, step_lanes);
    if (lane == 0) PooledRow(tile.pooled_row).store_anchor(layout, warp, sum / static_cast<float>(tile.rows));
  }
};

}  // namespace anchor::kernels::sm90
