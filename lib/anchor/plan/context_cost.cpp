#include "anchor/plan/context_cost.hpp"

#include <algorithm>
#include <numeric>

namespace anchor {
namespace {

/// Positions [begin, end).
struct Run {
  std::int64_t begin = 0, end = 0;
};

/// Which of a group's rows, at positions `rows`, see a key that the group lists: at most two runs.
struct SeeingRows {
  Run near, dense;
};

SeeingRows rows_that_see(const SparsePlan& plan, int head, Run rows, std::int64_t key) {
  const Geometry& g = plan.geometry;
  if (g.causal) rows.begin = std::max(rows.begin, key);
  if (g.sliding_window > 0) rows.end = std::min(rows.end, key + g.sliding_window);
  if (!plan.window || key < plan.window->sink) return {rows, {}};
  const std::int64_t near_end =
      std::max(rows.begin, std::min(rows.end, key + plan.window->local[static_cast<std::size_t>(head)]));
  return {{rows.begin, near_end}, {std::max(near_end, plan.window->dense_from), rows.end}};
}

/// Calls use(begin, end) for every block of a plan row, and for every column.
template <class Use>
void for_listed(const SparsePlan& plan, std::int64_t row, Use use) {
  for (const std::int64_t start : plan.blocks[row]) use(start, start + plan.block_width(start));
  for (const std::int64_t key : plan.columns[row]) use(key, key + 1);
}

/// Consecutive rows of one rank that are computed together.
struct RankTile {
  std::int64_t rows = 0, first = 0, last = 0;  ///< how many; positions of the first and the last
  std::vector<std::int64_t> groups;            ///< plan rows that they lie in
};

std::vector<RankTile> rank_tiles(const ContextSplit& split, int rank, const Geometry& geometry,
                                 std::int64_t tile_rows, std::int64_t group_rows) {
  std::vector<RankTile> tiles;
  std::int64_t open = -1;
  for (std::int64_t i = 0; i < geometry.q_len; ++i) {
    const std::int64_t position = geometry.q_start + i;
    if (split.owner(position) != rank) continue;
    if (const std::int64_t tile = split.owned_before(rank, position) / tile_rows; tile != open) {
      tiles.push_back({.first = position});
      open = tile;
    }
    RankTile& tile = tiles.back();
    ++tile.rows;
    tile.last = position;
    if (tile.groups.empty() || tile.groups.back() != i / group_rows) tile.groups.push_back(i / group_rows);
  }
  return tiles;
}

}  // namespace

ContextTally::ContextTally(const ContextSplit& split, int tile_rows)
    : split_(split),
      tile_rows_(tile_rows),
      pairs_(static_cast<std::size_t>(split.ranks())),
      work_(pairs_),
      seen_(pairs_.size(), std::vector<bool>(static_cast<std::size_t>(split.tokens()))) {}

void ContextTally::add(const SparsePlan& plan, std::span<const int> heads) {
  for (const int head : heads) {
    for (std::int64_t g = 0; g < plan.groups(); ++g) add_pairs(plan, head, g);
    for (int rank = 0; rank < split_.ranks(); ++rank) add_work(plan, head, rank);
  }
}

void ContextTally::add_pairs(const SparsePlan& plan, int head, std::int64_t group) {
  const Geometry& geometry = plan.geometry;
  const std::int64_t begin = group * plan.group_rows();
  const Run rows{geometry.q_start + begin,
                 geometry.q_start + std::min(begin + plan.group_rows(), geometry.q_len)};
  const bool windows = plan.window || geometry.sliding_window > 0;
  const auto count = [&](int rank, Run part) {
    return part.end > part.begin ? split_.owned(rank, part.begin, part.end) : 0;
  };
  for_listed(plan, head * plan.groups() + group, [&](std::int64_t from, std::int64_t to) {
    for (int rank = 0; rank < split_.ranks(); ++rank) {
      const auto r = static_cast<std::size_t>(rank);
      std::int64_t key = from;
      if (!windows) {  // keys up to the first row: every row sees them
        key = std::max(from, std::min(to, geometry.causal ? rows.begin + 1 : to));
        const std::int64_t seeing = count(rank, rows);
        pairs_[r] += seeing * (key - from);
        if (seeing > 0) std::fill(seen_[r].begin() + from, seen_[r].begin() + key, true);
      }
      for (; key < to; ++key) {
        const SeeingRows see = rows_that_see(plan, head, rows, key);
        const std::int64_t seeing = count(rank, see.near) + count(rank, see.dense);
        pairs_[r] += seeing;
        if (seeing > 0) seen_[r][static_cast<std::size_t>(key)] = true;
      }
    }
  });
}

void ContextTally::add_work(const SparsePlan& plan, int head, int rank) {
  std::vector<std::int64_t> tile_of(static_cast<std::size_t>(split_.tokens()),
                                    -1);  // that has the key already
  std::int64_t number = 0;
  for (const RankTile& tile : rank_tiles(split_, rank, plan.geometry, tile_rows_, plan.group_rows())) {
    std::int64_t keys = 0;
    for (const std::int64_t group : tile.groups) {
      for_listed(plan, head * plan.groups() + group, [&](std::int64_t from, std::int64_t to) {
        if (plan.geometry.causal) to = std::min(to, tile.last + 1);
        for (std::int64_t key = from; key < to; ++key) {
          std::int64_t& of = tile_of[static_cast<std::size_t>(key)];
          keys += of != number;
          of = number;
        }
      });
    }
    work_[static_cast<std::size_t>(rank)] += tile.rows * keys;
    ++number;
  }
}

ContextCost ContextTally::cost() const {
  ContextCost cost{pairs_, work_, {}};
  for (const std::vector<bool>& seen : seen_) {
    std::vector<std::int64_t> from(pairs_.size());
    for (std::int64_t key = 0; key < split_.tokens(); ++key)
      from[static_cast<std::size_t>(split_.owner(key))] += seen[static_cast<std::size_t>(key)];
    cost.keys.insert(cost.keys.end(), from.begin(), from.end());
  }
  return cost;
}

ContextCost dense_context_cost(const Geometry& geometry, const ContextSplit& split, int tile_rows,
                               int query_heads) {
  ContextCost cost;
  // The first key that a position sees, and one past the last.
  const auto first_key = [&](std::int64_t at) {
    return geometry.sliding_window > 0 ? std::max<std::int64_t>(0, at - geometry.sliding_window + 1) : 0;
  };
  const auto end_key = [&](std::int64_t at) { return geometry.causal ? at + 1 : geometry.kv_len; };
  for (int rank = 0; rank < split.ranks(); ++rank) {
    std::int64_t pairs = 0, work = 0, covered = 0;
    std::vector<std::int64_t> from(static_cast<std::size_t>(split.ranks()));
    for (const RankTile& tile : rank_tiles(split, rank, geometry, tile_rows, tile_rows)) {
      work += tile.rows * (end_key(tile.last) - first_key(tile.first));
      for (std::int64_t at = tile.first; at <= tile.last; ++at) {
        if (split.owner(at) != rank) continue;
        pairs += end_key(at) - first_key(at);
        const std::int64_t begin = std::max(covered, first_key(at));
        covered = std::max(covered, end_key(at));
        for (int owner = 0; owner < split.ranks(); ++owner)
          from[static_cast<std::size_t>(owner)] += split.owned(owner, begin, covered);
      }
    }
    cost.pairs.push_back(pairs * query_heads);
    cost.work.push_back(work * query_heads);
    cost.keys.insert(cost.keys.end(), from.begin(), from.end());
  }
  return cost;
}

double imbalance(std::span<const std::int64_t> values) {
  const auto sum = std::accumulate(values.begin(), values.end(), std::int64_t{0});
  if (sum == 0) return 1;
  return static_cast<double>(*std::ranges::max_element(values)) * static_cast<double>(values.size()) /
         static_cast<double>(sum);
}

std::int64_t keys_in_hop(const ContextCost& cost, int ranks, int hop) {
  std::int64_t most = 0;
  for (int reader = 0; reader < ranks; ++reader) {
    const int owner = (reader - hop % ranks + ranks) % ranks;
    most = std::max(most, cost.keys[static_cast<std::size_t>(reader) * static_cast<std::size_t>(ranks) +
                                    static_cast<std::size_t>(owner)]);
  }
  return most;
}

}  // namespace anchor
