#pragma once

#include <cstdint>
#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/base/aligned.hpp"

namespace anchor {

/// XAttention's scores of blocks (arXiv 2503.16428) for one head. Tokens form cells of `stride` consecutive
/// ones; a query cell and a key cell score the sum of the scores on their antidiagonal over `stride`, and
/// every query cell spreads one softmax over the key cells up to its own, in a layer with a sliding window
/// over those of which one of its queries sees a key. Tokens that the last cells lack, and keys that no query
/// sees, are zero.
class Antidiagonal {
 public:
  /// `head` is alone in its inputs, and its queries start at a multiple of `block`; `stride` divides `block`.
  /// `official`: products and masses rounded to bfloat16, as in the released code.
  Antidiagonal(const AttentionInputs& head, std::int64_t stride, std::int64_t block, bool official);

  /// Query cells of a tile of `block` rows.
  std::int64_t cell_rows(std::int64_t tile) const;

  /// Mass that the query cells of a tile give to each block of `block` keys, [blocks up to the tile's own]:
  /// they sum to cell_rows(tile).
  std::vector<float> block_mass(std::int64_t tile) const;

 private:
  AlignedVector<float> q_, k_;         ///< [cells, stride * dim], the query cells backwards
  std::int64_t width_;                 ///< stride * dim
  std::int64_t per_block_;             ///< cells
  std::int64_t reach_;                 ///< cells before its own that a query cell sees
  std::int64_t q_cells_, first_cell_;  ///< query cells, and the key cell of the first one
  float scale_;
  bool official_;
};

}  // namespace anchor
