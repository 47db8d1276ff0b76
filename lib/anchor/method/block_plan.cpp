#include "anchor/method/block_plan.hpp"

#include <cmath>
#include <numeric>

#include "anchor/base/error.hpp"

namespace anchor {

void require_square(std::string_view method, const Geometry& g) {
  if (g.q_len == g.kv_len && g.q_start == 0 && g.causal) return;
  fail("{}: needs a query for every key, got {} queries from position {} and {} keys; use a whole prefill",
       method, g.q_len, g.q_start, g.kv_len);
}

std::int64_t BlockShape::pairs(std::int64_t tile, std::int64_t block) const {
  const std::int64_t start = block * kv_tile, width = std::min<std::int64_t>(kv_tile, length - start);
  std::int64_t sum = 0;
  for (std::int64_t i = row_begin(tile); i < row_end(tile); ++i) {
    sum += std::clamp<std::int64_t>(i + 1 - start, 0, width);
    if (window > 0) sum -= std::clamp<std::int64_t>(i + 1 - window - start, 0, width);
  }
  return sum;
}

SparsePlan plan_blocks(const Geometry& geometry, const BlockShape& shape,
                       const std::function<BlockRows(int head)>& select) {
  SparsePlan plan{.geometry = geometry, .q_tile = shape.q_tile, .kv_tile = shape.kv_tile};
  for (int head = 0; head < geometry.q_heads; ++head) {
    for (const auto& row : select(head)) {
      for (const std::int32_t block : row) plan.blocks.items.push_back(block * shape.kv_tile);
      plan.blocks.end_row();
      plan.columns.end_row();
    }
  }
  return plan;
}

BlockRows all_blocks(const BlockShape& shape) {
  BlockRows rows(static_cast<std::size_t>(shape.tiles()));
  for (std::int64_t tile = 0; tile < shape.tiles(); ++tile) {
    auto& row = rows[static_cast<std::size_t>(tile)];
    const std::int64_t first = shape.first_block(tile);
    row.resize(static_cast<std::size_t>(shape.causal_blocks(tile) - first));
    std::iota(row.begin(), row.end(), static_cast<std::int32_t>(first));
  }
  return rows;
}

BlockRows kept_blocks(const BlockKnobs& knobs, double knob) {
  BlockRows rows(static_cast<std::size_t>(knobs.shape.tiles()));
  for (std::int64_t tile = 0; tile < knobs.shape.tiles(); ++tile) {
    for (std::int64_t block = knobs.shape.first_block(tile); block < knobs.shape.causal_blocks(tile);
         ++block) {
      if (knobs.keeps(tile, block, knob))
        rows[static_cast<std::size_t>(tile)].push_back(static_cast<std::int32_t>(block));
    }
  }
  return rows;
}

CriticalItems critical_blocks(const BlockKnobs& knobs, const MassMap& mass) {
  const BlockShape& shape = knobs.shape;
  CriticalItems items{.descending = knobs.descending,
                      .causal_pairs = mass.geometry.causal_pairs(),
                      .query_rows = shape.length};
  for (std::int64_t tile = 0; tile < shape.tiles(); ++tile) {
    const float* block_mass = mass.block_mass.data() + tile * mass.blocks();
    for (std::int64_t block = shape.first_block(tile); block < shape.causal_blocks(tile); ++block) {
      const float critical = knobs.row(tile)[block];
      if (std::isnan(critical)) continue;
      if (critical == knobs.always()) {
        items.forced_pairs += shape.pairs(tile, block);
        items.forced_mass += static_cast<double>(block_mass[block]);
        continue;
      }
      items.knob.push_back(critical);
      items.pairs.push_back(static_cast<std::int32_t>(shape.pairs(tile, block)));
      items.mass.push_back(block_mass[block]);
      items.place(shape.row_begin(tile), shape.row_end(tile), block * shape.kv_tile, shape.kv_tile);
    }
  }
  return items;
}

}  // namespace anchor
