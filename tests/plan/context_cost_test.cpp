#include "anchor/plan/context_cost.hpp"

#include <doctest/doctest.h>

#include <set>

#include "anchor/base/error.hpp"
#include "anchor/plan/listed.hpp"

using namespace anchor;

namespace {

/// Two heads of one KV head: every group lists its own tile, a block in the middle and a few columns.
SparsePlan small_plan(std::int64_t q_len, std::int64_t q_start, int q_tile, int tiles_per_row) {
  SparsePlan plan{.geometry = {.q_heads = 2, .q_len = q_len, .kv_len = q_start + q_len, .q_start = q_start},
                  .q_tile = q_tile,
                  .kv_tile = 8,
                  .tiles_per_row = tiles_per_row};
  for (int head = 0; head < 2; ++head) {
    for (std::int64_t g = 0; g < plan.groups(); ++g) {
      const std::int64_t first = q_start + g * plan.group_rows(), end = plan.group_end(g);
      std::int64_t key = head + 1;
      for (; key < first; key += 5 + g % 3) {
        if (key < 16 || key >= 24) plan.columns.items.push_back(static_cast<std::int32_t>(key));
      }
      if (first >= 24) plan.blocks.items.push_back(16);
      append_run(plan, first, end, end);
      plan.blocks.end_row();
      plan.columns.end_row();
    }
  }
  REQUIRE(validate(plan) == "");
  return plan;
}

/// Straight from the definition.
ContextCost by_hand(const SparsePlan& plan, const ContextSplit& split, std::int64_t tile_rows) {
  const auto ranks = static_cast<std::size_t>(split.ranks());
  ContextCost cost{std::vector<std::int64_t>(ranks), std::vector<std::int64_t>(ranks), {}};
  const Geometry& g = plan.geometry;
  for (int rank = 0; rank < split.ranks(); ++rank) {
    std::set<std::int64_t> needed;
    for (int head = 0; head < g.q_heads; ++head) {
      std::vector<std::int64_t> tile;
      const auto compute = [&] {
        std::set<std::int64_t> keys;
        for (const std::int64_t i : tile) {
          for (std::int64_t j = 0; j <= g.q_start + tile.back(); ++j)
            if (lists_key(plan, plan.row_of(head, i), j)) keys.insert(j);
        }
        cost.work[static_cast<std::size_t>(rank)] += static_cast<std::int64_t>(tile.size() * keys.size());
        tile.clear();
      };
      std::int64_t own = 0;  // rows of the rank among all positions
      for (std::int64_t p = 0; p < g.kv_len; ++p) {
        if (split.owner(p) != rank) continue;
        if (own++ % tile_rows == 0 && !tile.empty()) compute();
        if (p < g.q_start) continue;
        const std::int64_t i = p - g.q_start;
        tile.push_back(i);
        for (std::int64_t j = 0; j < g.kv_len; ++j) {
          if (!plan.allows(head, p, j) || !lists_key(plan, plan.row_of(head, i), j)) continue;
          if (g.sliding_window > 0 && p - j >= g.sliding_window) continue;
          ++cost.pairs[static_cast<std::size_t>(rank)];
          needed.insert(j);
        }
      }
      if (!tile.empty()) compute();
    }
    std::vector<std::int64_t> from(ranks);
    for (const std::int64_t j : needed) ++from[static_cast<std::size_t>(split.owner(j))];
    cost.keys.insert(cost.keys.end(), from.begin(), from.end());
  }
  return cost;
}

constexpr int both[] = {0, 1};

void check_equal(const SparsePlan& plan, const ContextSplit& split, int tile_rows) {
  CAPTURE(name_of(split.layout()));
  CAPTURE(split.ranks());
  ContextTally tally(split, tile_rows);
  tally.add(plan, both);
  const ContextCost cost = tally.cost(), expected = by_hand(plan, split, tile_rows);
  CHECK(cost.pairs == expected.pairs);
  CHECK(cost.work == expected.work);
  CHECK(cost.keys == expected.keys);
}

}  // namespace

TEST_CASE("every token has one owner, and counts of owned tokens agree") {
  for (const ContextLayout layout : {ContextLayout::ring, ContextLayout::zigzag, ContextLayout::striped}) {
    for (const int ranks : {1, 2, 3, 7}) {
      const ContextSplit split(layout, ranks, 61);
      std::vector<std::int64_t> owned(static_cast<std::size_t>(ranks));
      for (std::int64_t t = 0; t <= 61; ++t) {
        for (int rank = 0; rank < ranks; ++rank)
          CHECK(split.owned_before(rank, t) == owned[static_cast<std::size_t>(rank)]);
        if (t < 61) ++owned[static_cast<std::size_t>(split.owner(t))];
      }
    }
  }
  CHECK_THROWS_AS(ContextSplit(ContextLayout::zigzag, 4, 7), Error);
  CHECK_THROWS_AS(context_layout("rings"), Error);
}

TEST_CASE("what ranks compute and fetch follows from the plan") {
  for (const ContextLayout layout : {ContextLayout::ring, ContextLayout::zigzag, ContextLayout::striped}) {
    for (const int ranks : {1, 2, 3, 4}) {
      for (const auto& [q_len, q_start] : {std::pair{96, 0}, {70, 0}, {40, 33}}) {
        const ContextSplit split(layout, ranks, q_start + q_len);
        SparsePlan plan = small_plan(q_len, q_start, 16, 2);
        check_equal(plan, split, 16);
        plan.window = SparsePlan::Window{.sink = 4, .local = {9, 40}, .dense_from = q_start + q_len - 5};
        check_equal(plan, split, 8);
        plan.geometry.sliding_window = 21;
        check_equal(plan, split, 16);
      }
    }
  }
}

TEST_CASE("dense attention: zigzag is even, ring is not, and closed sums equal the dense plan's") {
  const Geometry g{.q_heads = 2, .q_len = 256, .kv_len = 256};
  for (const ContextLayout layout : {ContextLayout::ring, ContextLayout::zigzag, ContextLayout::striped}) {
    const ContextSplit split(layout, 4, 256);
    ContextTally tally(split, 16);
    tally.add(dense_plan(g, 16), both);
    const ContextCost cost = tally.cost(), dense = dense_context_cost(g, split, 16, 2);
    CHECK(cost.pairs == dense.pairs);
    CHECK(cost.work == dense.work);
    CHECK(cost.keys == dense.keys);
  }
  const auto pairs = [&](ContextLayout layout) {
    return dense_context_cost(g, {layout, 4, 256}, 16, 1).pairs;
  };
  CHECK(imbalance(pairs(ContextLayout::ring)) ==
        doctest::Approx(1.7471).epsilon(1e-3));  // 2 - 1 / ranks, nearly
  CHECK(imbalance(pairs(ContextLayout::zigzag)) == 1);
  CHECK(imbalance(pairs(ContextLayout::striped)) < 1.02);
}

TEST_CASE("a hop takes the keys of the rank before") {
  const ContextCost cost{{}, {}, {5, 1, 2, 3, 6, 4, 7, 9, 8}};  // readers 0, 1, 2
  CHECK(keys_in_hop(cost, 3, 1) == 9);                          // 0 of 2: 2, 1 of 0: 3, 2 of 1: 9
  CHECK(keys_in_hop(cost, 3, 2) == 7);                          // 0 of 1: 1, 1 of 2: 4, 2 of 0: 7
}
