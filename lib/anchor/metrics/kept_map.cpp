#include "anchor/metrics/kept_map.hpp"

#include <algorithm>

namespace anchor {
namespace {

/// Adds the keys [begin, end) to a row of cells `width` keys wide.
void add_range(std::int64_t* cells, std::int64_t begin, std::int64_t end, std::int64_t width) {
  while (begin < end) {
    const std::int64_t cell = begin / width, stop = std::min(end, (cell + 1) * width);
    cells[cell] += stop - begin;
    begin = stop;
  }
}

}  // namespace

KeptMap::KeptMap(const Geometry& head, std::int64_t tile_rows, std::int64_t block_keys)
    : geometry_(head),
      tile_rows_(tile_rows),
      block_keys_(block_keys),
      blocks_((head.kv_len + block_keys - 1) / block_keys),
      pairs_(static_cast<std::size_t>((head.q_len + tile_rows - 1) / tile_rows * blocks_)) {}

void KeptMap::add(const SparsePlan& plan, int head, std::int64_t first_row) {
  for (std::int64_t i = 0; i < plan.geometry.q_len; ++i) {
    const std::int64_t row = plan.row_of(head, i), position = plan.geometry.q_start + i;
    const std::int64_t first = plan.geometry.first_visible(i), seen = plan.geometry.visible(i);
    std::int64_t* cells = pairs_.data() + (first_row + i) / tile_rows_ * blocks_;
    const bool windowed = plan.window && position < plan.window->dense_from;
    const std::int64_t sink = windowed ? plan.window->sink : 0;
    const std::int64_t local =
        windowed ? std::max(sink, position - plan.window->local[static_cast<std::size_t>(head)] + 1) : 0;
    for (const std::int32_t start : plan.blocks[row]) {
      const std::int64_t end = std::min(start + plan.block_width(start), seen);
      add_range(cells, std::max<std::int64_t>(start, first), std::min(end, sink), block_keys_);
      add_range(cells, std::max({std::int64_t{start}, first, local}), end, block_keys_);
    }
    if (!plan.window) continue;
    for (const std::int32_t key : plan.columns[row]) {
      if (key >= seen) break;
      cells[key / block_keys_] += plan.allows(head, position, key);
    }
  }
  if (plan.window) return;
  // Without a window of the plan the rows of one list and tile count at once.
  for (std::int64_t i = 0; i < plan.geometry.q_len;) {
    const std::int64_t tile = (first_row + i) / tile_rows_;
    const std::int64_t end = std::min({plan.geometry.q_len, (i / plan.group_rows() + 1) * plan.group_rows(),
                                       (tile + 1) * tile_rows_ - first_row});
    for (const std::int32_t key : plan.columns[plan.row_of(head, i)]) {
      pairs_[static_cast<std::size_t>(tile * blocks_ + key / block_keys_)] +=
          plan.geometry.rows_that_see(key, i, end);
    }
    i = end;
  }
}

std::vector<float> KeptMap::share() const {
  KeptMap all(geometry_, tile_rows_, block_keys_);
  for (std::int64_t i = 0; i < geometry_.q_len; ++i) {
    add_range(all.pairs_.data() + i / tile_rows_ * blocks_, geometry_.first_visible(i), geometry_.visible(i),
              block_keys_);
  }
  std::vector<float> shares(pairs_.size());
  for (std::size_t n = 0; n < shares.size(); ++n) {
    if (all.pairs_[n] > 0) shares[n] = static_cast<float>(pairs_[n]) / static_cast<float>(all.pairs_[n]);
  }
  return shares;
}

}  // namespace anchor
