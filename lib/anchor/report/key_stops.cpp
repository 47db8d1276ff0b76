#include "anchor/report/key_stops.hpp"

#include <algorithm>

#include "anchor/base/parallel.hpp"

namespace anchor {

KeyStops::KeyStops(const Geometry& head, std::int64_t list_rows)
    : geometry_(head),
      list_rows_(list_rows),
      lists_((head.q_len + list_rows - 1) / list_rows),
      first_(static_cast<std::size_t>(lists_ * head.kv_len), never) {}

void KeyStops::add_plan(const SparsePlan& plan, int head, std::uint8_t stop) {
  for (std::int64_t n = 0; n < lists_; ++n) {
    std::uint8_t* keys = first_.data() + n * geometry_.kv_len;
    const std::int64_t row = plan.row_of(head, n * list_rows_);
    const auto keep = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t key = begin; key < end; ++key) keys[key] = std::min(keys[key], stop);
    };
    for (const std::int32_t start : plan.blocks[row]) keep(start, start + plan.block_width(start));
    for (const std::int32_t key : plan.columns[row]) keep(key, key + 1);
    has_stripes_ = has_stripes_ || (stop > 0 && !plan.columns[row].empty());
  }
}

void KeyStops::add_entries(const CriticalItems& items, std::span<const double> stops) {
  std::size_t entry = 0;
  for (const CriticalItems::Run& run : items.places) {
    has_stripes_ = has_stripes_ || run.width == 1;
    std::uint8_t* keys = first_.data() + run.row_begin / list_rows_ * geometry_.kv_len;
    for (std::int64_t n = 0; n < run.entries; ++n, ++entry) {
      const auto critical = static_cast<double>(items.knob[entry]);
      const auto at = items.descending
                          ? std::lower_bound(stops.begin(), stops.end(), critical, std::greater<>())
                          : std::lower_bound(stops.begin(), stops.end(), critical);
      if (at == stops.end()) continue;
      const auto stop = static_cast<std::uint8_t>(at - stops.begin());
      const std::int64_t begin = run.key + n * run.width, end = std::min(begin + run.width, geometry_.kv_len);
      for (std::int64_t key = begin; key < end; ++key) keys[key] = std::min(keys[key], stop);
    }
  }
}

std::vector<std::int64_t> pairs_at_stops(const KeyStops& keys, std::int64_t q_len, std::size_t stops) {
  std::vector<std::int64_t> pairs(stops, 0);
  keys.visit(0, q_len, [&](std::int64_t, std::int64_t, std::uint8_t first, std::int64_t rows) {
    pairs[first] += rows;
  });
  for (std::size_t n = 1; n < stops; ++n) pairs[n] += pairs[n - 1];
  return pairs;
}

std::vector<std::uint8_t> half_kept(const KeyStops& keys, const Geometry& head, std::int64_t tile,
                                    std::size_t stops) {
  const std::int64_t tiles = (head.q_len + tile - 1) / tile, blocks = (head.kv_len + tile - 1) / tile;
  std::vector<std::uint8_t> half(static_cast<std::size_t>(tiles * blocks), KeyStops::never);
  parallel_for(tiles, [&](std::int64_t n) {
    const std::int64_t begin = n * tile, end = std::min(head.q_len, begin + tile);
    std::vector<std::int64_t> kept(static_cast<std::size_t>(blocks) * stops, 0),
        all(static_cast<std::size_t>(blocks), 0);
    keys.visit(begin, end, [&](std::int64_t, std::int64_t key, std::uint8_t first, std::int64_t rows) {
      kept[static_cast<std::size_t>(key / tile) * stops + first] += rows;
    });
    for (std::int64_t key = head.first_visible(begin); key < head.visible(end - 1); ++key)
      all[static_cast<std::size_t>(key / tile)] += head.rows_that_see(key, begin, end);
    for (std::size_t block = 0; block < all.size(); ++block) {
      std::int64_t sum = 0;
      for (std::size_t stop = 0; stop < stops && all[block] > 0; ++stop) {
        sum += kept[block * stops + stop];
        if (2 * sum < all[block]) continue;
        half[static_cast<std::size_t>(n * blocks) + block] = static_cast<std::uint8_t>(stop);
        break;
      }
    }
  });
  return half;
}

std::vector<double> mass_at_stops(const KeyStops& keys, const MassMap& mass, std::int64_t row_tile,
                                  std::size_t stops) {
  const Geometry& g = mass.geometry;
  const std::int64_t tiles = (g.q_len + row_tile - 1) / row_tile;
  const bool by_blocks = mass.granularity.group_rows == 0;
  const std::int64_t rows = by_blocks ? mass.granularity.tile_rows : mass.granularity.group_rows;
  const std::int64_t width = by_blocks ? mass.granularity.block_keys : 1;
  const std::int64_t columns = by_blocks ? mass.blocks() : g.kv_len;
  const float* values = by_blocks ? mass.block_mass.data() : mass.column_mass.data();
  std::vector<double> kept(stops * static_cast<std::size_t>(tiles), 0);
  for (std::int64_t row = 0; row < g.q_len; row += rows) {
    const auto list = keys.list(row / keys.list_rows());
    const float* own = values + row / rows * columns;
    for (std::int64_t n = 0; n < columns; ++n) {
      const std::uint8_t first = list[static_cast<std::size_t>(n * width)];
      if (first != KeyStops::never)
        kept[static_cast<std::size_t>(first) * static_cast<std::size_t>(tiles) +
             static_cast<std::size_t>(row / row_tile)] += static_cast<double>(own[n]);
    }
  }
  for (std::size_t n = static_cast<std::size_t>(tiles); n < kept.size(); ++n)
    kept[n] += kept[n - static_cast<std::size_t>(tiles)];
  return kept;
}

}  // namespace anchor
