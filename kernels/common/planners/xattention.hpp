#pragma once

#include "anchor/kernels/planners.hpp"
#include "head_set.hpp"

struct CUstream_st;

namespace anchor::kernels {

/// Cells of `stride` consecutive tokens, and what their products leave.
struct XAttentionCells {
  XAttentionCells() = default;
  XAttentionCells(const Shape& shape, int block, int cell, const HeadSet& scored)
      : stride(cell),
        per_block(block / cell),
        count(static_cast<int>((shape.kv_len + cell - 1) / cell)),
        blocks(static_cast<int>((shape.kv_len + block - 1) / block)),
        scale(shape.softmax_scale / static_cast<float>(cell)),
        heads(scored) {}

  int stride, per_block;  ///< tokens per cell, cells per block
  int count, blocks;      ///< cells and blocks of a head
  float scale;            ///< of a product
  HeadSet heads;
  int first_head = 0;    ///< a chunk are those of `heads` from here on
  float* lse = nullptr;  ///< [heads of the chunk, count, blocks]: log2 of the sum of 2^score over a block

  /// Head `local` of the chunk.
  ANCHOR_HOST_DEVICE int head(int local) const { return nth(heads, first_head, local); }
  /// Cell rows of a tile.
  ANCHOR_HOST_DEVICE int rows(int tile) const {
    const int left = count - tile * per_block;
    return left < per_block ? left : per_block;
  }
  /// What the log-sum-exps of one head need.
  std::size_t lse_bytes() const {
    return static_cast<std::size_t>(std::int64_t{count} * blocks) * sizeof(float);
  }
};

/// Fills cells.lse for the first `heads` heads of a chunk.
void run_cells(const Tensors& inputs, const XAttentionCells& cells, int heads, CUstream_st* stream);

/// The same product on a Hopper card.
namespace sm90 {
template <Element element>
void xattention_cells(const Tensors& inputs, const XAttentionCells& cells, int heads, CUstream_st* stream);
}

}  // namespace anchor::kernels
