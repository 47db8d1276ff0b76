#pragma once

#include <functional>
#include <limits>
#include <string_view>
#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/mass/critical.hpp"
#include "anchor/mass/mass_map.hpp"
#include "anchor/plan/sparse_plan.hpp"

namespace anchor {

/// A data error unless every token has a query and a key (q_len = kv_len, q_start = 0, causal): what planners
/// that compare whole tiles with whole blocks are defined for.
void require_square(std::string_view method, const Geometry& geometry);

/// Query tiles and aligned key blocks of a square causal problem.
struct BlockShape {
  std::int64_t length = 0;
  int q_tile = 128, kv_tile = 128;
  std::int64_t window = 0;  ///< the layer's sliding window, 0 = none

  std::int64_t tiles() const { return (length + q_tile - 1) / q_tile; }
  std::int64_t blocks() const { return (length + kv_tile - 1) / kv_tile; }
  std::int64_t row_begin(std::int64_t tile) const { return tile * q_tile; }
  std::int64_t row_end(std::int64_t tile) const { return std::min(length, (tile + 1) * q_tile); }
  std::int64_t rows(std::int64_t tile) const { return row_end(tile) - row_begin(tile); }
  /// Blocks [first_block, causal_blocks) hold a key that some row of the tile sees.
  std::int64_t first_block(std::int64_t tile) const {
    return window > 0 ? std::max<std::int64_t>(0, row_begin(tile) + 1 - window) / kv_tile : 0;
  }
  std::int64_t causal_blocks(std::int64_t tile) const { return (row_end(tile) + kv_tile - 1) / kv_tile; }
  /// Blocks [0, past_blocks) lie entirely before the tile's first row.
  std::int64_t past_blocks(std::int64_t tile) const { return row_begin(tile) / kv_tile; }
  /// Pairs of a tile and a block that causality and the window allow.
  std::int64_t pairs(std::int64_t tile, std::int64_t block) const;

  MassGranularity granularity() const {
    return {.group_rows = 0, .tile_rows = q_tile, .block_keys = kv_tile};
  }
};

/// For every tile of one head, the indices of the blocks it keeps, ascending.
using BlockRows = std::vector<std::vector<std::int32_t>>;

/// The plan whose head h keeps select(h). Heads are selected one after the other; `select` may use all cores.
SparsePlan plan_blocks(const Geometry& geometry, const BlockShape& shape,
                       const std::function<BlockRows(int head)>& select);

/// Tiles and blocks of a square problem and its window.
inline BlockShape block_shape(const Geometry& geometry, int q_tile, int kv_tile) {
  return {geometry.kv_len, q_tile, kv_tile, geometry.windowed() ? geometry.sliding_window : 0};
}

/// Every block of every tile that some row of it sees.
BlockRows all_blocks(const BlockShape& shape);

/// One head of a method that keeps or drops each block by comparing its critical value with the knob. Plans
/// and exact curves read the same numbers, so they agree bit for bit.
struct BlockKnobs {
  BlockKnobs(const BlockShape& blocks, bool knob_descends)
      : shape(blocks),
        descending(knob_descends),
        value(static_cast<std::size_t>(shape.tiles() * shape.blocks()),
              std::numeric_limits<float>::quiet_NaN()) {}

  BlockShape shape;
  bool descending;           ///< kept iff value >= knob, not value <= knob: a larger knob keeps less
  std::vector<float> value;  ///< [tiles, blocks]; always() = forced, NaN = never

  float always() const { return (descending ? 1.f : -1.f) * std::numeric_limits<float>::infinity(); }
  float* row(std::int64_t tile) { return value.data() + tile * shape.blocks(); }
  const float* row(std::int64_t tile) const { return value.data() + tile * shape.blocks(); }
  bool keeps(std::int64_t tile, std::int64_t block, double knob) const {
    const auto critical = static_cast<double>(row(tile)[block]);
    return descending ? critical >= knob : critical <= knob;
  }
};

/// The blocks that are kept at one knob value, of those that some row of their tile sees.
BlockRows kept_blocks(const BlockKnobs& knobs, double knob);

/// What the head's exact curve is made of; the map has the shape's granularity.
CriticalItems critical_blocks(const BlockKnobs& knobs, const MassMap& mass);

}  // namespace anchor
