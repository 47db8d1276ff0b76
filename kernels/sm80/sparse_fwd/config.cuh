#pragma once

#include "sm80/tiles.cuh"

namespace anchor::kernels::sm80 {

constexpr int tile_rows = 128;  ///< query rows of a CTA

/// Shapes of the portable forward kernel.
template <int head_dim>
struct SparseFwdConfig {
  using Warp = Warps<head_dim>;
  static constexpr int threads = Warp::threads;
  static constexpr int keys = head_dim <= 128 ? 64 : 32;  ///< per tile of the ring
  static constexpr int stages = head_dim == 128 ? 2 : 3;
  static constexpr int row_bytes = head_dim * 2, tile_bytes = keys * row_bytes;
  static constexpr int stage_bytes = 2 * tile_bytes;  ///< keys, then values
  static constexpr int shared_bytes = stages * stage_bytes;
  /// Steps of 16 dimensions of the queries that wait in shared memory, for want of registers.
  static constexpr int parked = head_dim == 128 ? 8 : 0;
  /// Tiles whose list entries are read together, at least `stages`; two such windows lie in shared memory.
  static constexpr int window_tiles = stages == 2 ? 2 : 4, window = window_tiles * keys;
  static constexpr int ctas_per_sm = head_dim <= 128 ? 2 : 1;

  static __device__ __forceinline__ unsigned next_stage(unsigned stage) {
    return stage == (stages - 1) * stage_bytes ? 0 : stage + stage_bytes;
  }
};

}  // namespace anchor::kernels::sm80
