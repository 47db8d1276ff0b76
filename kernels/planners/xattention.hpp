#pragma once

#include "anchor/kernels/planners.hpp"

struct CUstream_st;

namespace anchor::kernels {

/// Cells of `stride` consecutive tokens, and what their products leave.
struct XAttentionCells {
  int stride, per_block;  ///< tokens per cell, cells per block
  int count, blocks;      ///< cells and blocks of a head
  float scale;            ///< of a product
  int first_head;         ///< of the chunk
  float* lse;             ///< [heads of the chunk, count, blocks]: log2 of the sum of 2^score over a block
};

/// The same product on a Hopper card.
namespace sm90 {
template <Element element>
void xattention_cells(const PlannerInputs& inputs, const XAttentionCells& cells, int heads,
                      CUstream_st* stream);
}

}  // namespace anchor::kernels
