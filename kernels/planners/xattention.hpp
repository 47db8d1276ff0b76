#pragma once

#include <cstdint>

namespace anchor::kernels {

/// Cells of `stride` consecutive tokens, and what their products leave.
struct XAttentionCells {
  int stride, per_block;  ///< tokens per cell, cells per block
  int count, blocks;      ///< cells and blocks of a head
  float scale;            ///< of a product
  int first_head;         ///< of the chunk
  float* lse;             ///< [heads of the chunk, count, blocks]: log2 of the sum of 2^score over a block
};

}  // namespace anchor::kernels
