#pragma once

#include "common/anchor/layout.hpp"
#include "device/element.cuh"

// Where the planner of AnchorAttention keeps pooled queries and row anchors.
namespace anchor::kernels {

/// The row of one pooled block among its KV head's matrix operands.
struct PooledRow {
  std::int64_t tile;  ///< of 64 rows, over all KV heads
  int row;            ///< in the tile

  __device__ __forceinline__ explicit PooledRow(std::int64_t index) : tile(index / 64), row(index % 64) {}
  __device__ __forceinline__ std::int64_t index() const { return tile * 64 + row; }

  /// `block` counts the pooled blocks of query head `head` from 0.
  __device__ __forceinline__ PooledRow(const AnchorLayout& layout, int head, int block, int step) {
    const int heads = layout.heads_per_kv, group = block / step, u = block - group * step;
    const int unit = group * heads + head % heads;
    tile = head / heads * layout.tiles + unit / layout.units_per_tile;
    row = unit % layout.units_per_tile * layout.slots + u;
    if (layout.slots >= 2 && layout.slots <= 16) {
      // The rows of a unit lie in as few threads as possible: first the two rows of a thread, then
      // neighbouring quads.
      const int in_warp = row % 16, k = in_warp / layout.slots;
      row = row - in_warp + k * (layout.slots / 2) + u / 2 + 8 * (u % 2);
    }
  }

  /// Keeps the mean query's columns `column` (even) and the next one as sums of two 16-bit numbers.
  template <Element element>
  __device__ __forceinline__ void store_pair(const AnchorLayout& layout, int head_dim, int column,
                                             float first, float second) const {
    // Where they lie among the registers of the 128 threads that hold the 64-row operand.
    const int in_warp = row % 16, in_step = column % 16;
    const int lane = in_warp % 8 * 4 + in_step % 8 / 2, reg = in_step / 8 * 2 + in_warp / 8;
    const std::int64_t at = (((tile * 4 + row / 16) * (head_dim / 16) + column / 16) * 32 + lane) * 4 + reg;
    const unsigned high = pack2<element>(first, second);
    const float2 kept = unpack2<element>(high);
    static_cast<unsigned*>(layout.high)[at] = high;
    static_cast<unsigned*>(layout.low)[at] = pack2<element>(first - kept.x, second - kept.y);
  }

  /// The mean row anchor is the sum of `anchor_parts` parts.
  __device__ __forceinline__ void store_anchor(const AnchorLayout& layout, int part, float value) const {
    layout.mean_anchor[(tile * 64 + row) * anchor_parts + part] = value;
  }
};

}  // namespace anchor::kernels
