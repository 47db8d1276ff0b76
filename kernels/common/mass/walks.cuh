#pragma once

#include <cuda_runtime.h>

#include "anchor/kernels/mass.hpp"

// What the portable and the Hopper kernels of the attention mass share: the order in which they walk keys and
// rows.
namespace anchor::kernels {

/// Runs of keys in the order in which a tile of rows walks them: the anchor region (initial keys, then local
/// ones), then what lies between. Without an anchor region, or where its parts touch, all keys are the first
/// run.
struct KeyRuns {
  bool split, rest;
  int begin, init, local, end;
  int anchor_tiles, tiles;

  /// The tile's rows lie at positions [first, last]; `group_begin` is the first position of their anchor
  /// group. What the layer's window hides from all of them is left out as far as it lies before all runs.
  __device__ KeyRuns(const RowStatsParams& p, int group_begin, int first, int last, int rows)
      : end(last + 1) {
    init = static_cast<int>(p.anchor_init);
    local = min(group_begin - static_cast<int>(p.anchor_local), end);
    split = p.anchor_group > 0 && local > init && group_begin < p.anchor_dense_from;
    rest = p.lse || p.max;
    const int sliding = static_cast<int>(p.shape.sliding_window);
    begin = sliding > 0 ? max(0, first + 1 - sliding) : 0;
    begin = min(begin, split ? init : end);
    anchor_tiles = 0, tiles = 0;
    for (int run = 0; run < 3; ++run) {
      tiles += max(0, end_of(run) - begin_of(run) + rows - 1) / rows;
      if (run == 1) anchor_tiles = tiles;
    }
  }
  __device__ int begin_of(int run) const { return run == 0 ? begin : run == 1 ? local : init; }
  __device__ int end_of(int run) const {
    if (!split) return run == 0 ? end : begin_of(run);
    return run == 0 ? init : run == 1 ? end : rest ? local : init;
  }
};

/// The tiles of `rows` query rows that see a key from key_begin on, for one group after the other. Tiles
/// start at the first row of their group and end with it.
struct RowWalk {
  int group, tile;
  int group_end, rows, group_rows, q_len, first_row;

  __device__ RowWalk(const MassParams& p, int group_begin, int group_end, int key_begin, int rows)
      : group(group_begin),
        group_end(group_end),
        rows(rows),
        group_rows(static_cast<int>(p.group_rows)),
        q_len(static_cast<int>(p.shape.q_len)),
        first_row(max(0, key_begin - static_cast<int>(p.shape.q_start))) {
    tile = tiles_before();
    settle();
  }
  __device__ bool done() const { return group == group_end; }
  __device__ int begin() const { return group * group_rows + tile * rows; }  ///< the tile's first row
  __device__ int end() const {
    return min(q_len, (group + 1) * group_rows);
  }  ///< one past the group's last row
  __device__ void next() {
    ++tile;
    settle();
  }

 private:
  /// Tiles of the group in which no row sees the key.
  __device__ int tiles_before() const {
    const int begin = group * group_rows;
    return max(0, min(first_row, end()) - begin) / rows;
  }
  __device__ void settle() {
    while (group < group_end && begin() >= end()) {
      ++group;
      tile = group < group_end ? tiles_before() : 0;
    }
  }
};

constexpr int cell_rows = 64, cell_keys = 16;  ///< of the finest block sums

/// How many positions after a key the last row lies that sees it.
template <class Params>
__device__ __forceinline__ int reach_of(const Params& p) {
  return p.shape.sliding_window > 0 ? static_cast<int>(p.shape.sliding_window) - 1 : 0x3fffffff;
}

/// Adds the cells up to blocks. Cells that no row sees were never written and count as nothing.
static __global__ void block_mass_kernel(const __grid_constant__ MassParams p, const float* cells) {
  const int tiles = static_cast<int>((p.shape.q_len + p.tile_rows - 1) / p.tile_rows);
  const int blocks = static_cast<int>((p.shape.kv_len + p.block_keys - 1) / p.block_keys);
  const int block = blockIdx.y * blockDim.x + threadIdx.x;
  if (block >= blocks) return;
  const int tile = blockIdx.x % tiles, head = blockIdx.x / tiles;
  const int q_len = static_cast<int>(p.shape.q_len), q_start = static_cast<int>(p.shape.q_start);
  const int row_cells = (q_len + cell_rows - 1) / cell_rows;
  const int key_cells = (static_cast<int>(p.shape.kv_len) + cell_keys - 1) / cell_keys;
  const int tile_cells = static_cast<int>(p.tile_rows) / cell_rows,
            block_cells = static_cast<int>(p.block_keys) / cell_keys;
  float mass = 0;
  for (int row = tile * tile_cells; row < min(row_cells, (tile + 1) * tile_cells); ++row) {
    const int last = q_start + min(q_len, (row + 1) * cell_rows) - 1;
    for (int key = block * block_cells;
         key < min(key_cells, (block + 1) * block_cells) && key * cell_keys <= last; ++key)
      mass += cells[(static_cast<std::int64_t>(head) * row_cells + row) * key_cells + key];
  }
  p.block_mass[static_cast<std::int64_t>(blockIdx.x) * blocks + block] = mass;
}

inline void add_cells(const MassParams& p, const float* cells, cudaStream_t stream) {
  const std::int64_t tiles = (p.shape.q_len + p.tile_rows - 1) / p.tile_rows;
  const std::int64_t blocks = (p.shape.kv_len + p.block_keys - 1) / p.block_keys;
  const dim3 grid(static_cast<unsigned>(tiles * p.shape.q_heads),
                  static_cast<unsigned>((blocks + 127) / 128));
  block_mass_kernel<<<grid, 128, 0, stream>>>(p, cells);
}

/// How many groups one CTA takes, so that keys are loaded once for many rows and yet every multiprocessor has
/// work.
inline std::int64_t groups_per_cta(const MassParams& p, std::int64_t key_tiles) {
  constexpr std::int64_t wanted_ctas = 2048;
  const std::int64_t groups = (p.shape.q_len + p.group_rows - 1) / p.group_rows;
  const std::int64_t spans = (wanted_ctas + p.shape.q_heads * key_tiles - 1) / (p.shape.q_heads * key_tiles);
  return (groups + spans - 1) / spans;
}

}  // namespace anchor::kernels
