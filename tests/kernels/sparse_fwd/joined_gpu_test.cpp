#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "support/gpu/check_attention.hpp"

using namespace anchor;
using namespace anchor::test;

namespace {

/// Blocks at any alignment and columns, dealt to plan rows 2n and 2n + 1 of a head: all to both, each to one
/// of them, to one or both, to both but much to the first row, or to the second row alone.
SparsePlan paired_plan(const Geometry& geometry, int q_tile, int kv_tile, int tiles_per_row, unsigned seed) {
  std::mt19937 rng(seed);
  SparsePlan plan{.geometry = geometry, .q_tile = q_tile, .kv_tile = kv_tile, .tiles_per_row = tiles_per_row};
  constexpr unsigned takers[][4] = {{3, 3, 3, 3}, {1, 2, 1, 2}, {1, 2, 3, 3}, {1, 1, 1, 3}, {2, 2, 2, 2}};
  for (std::int64_t row = 0, pair = 0; row < plan.rows(); ++pair) {
    const std::int64_t g = row % plan.groups(), members = std::min<std::int64_t>(2, plan.groups() - g);
    struct Entry {
      std::int32_t start;
      bool block;
      unsigned taker;
    };
    std::vector<Entry> entries;
    for (std::int64_t j = 0; j < plan.group_end(g + members - 1);) {
      const unsigned roll = rng() % 8, taker = takers[(seed + pair) % 5][rng() % 4];
      if (roll < 6) entries.push_back({static_cast<std::int32_t>(j), roll == 0, taker});
      j += roll == 0 ? kv_tile : 1;
    }
    for (std::int64_t n = 0; n < members; ++n, ++row) {
      for (const Entry& entry : entries)
        if ((entry.taker >> n & 1) && entry.start < plan.group_end(g + n))
          (entry.block ? plan.blocks : plan.columns).items.push_back(entry.start);
      plan.blocks.end_row();
      plan.columns.end_row();
    }
  }
  return plan;
}

/// A random plan for every pack of query heads, with tiles so short that the heads fill 128 rows.
SparsePlan packed_plan(const Geometry& geometry, int packed_heads, int kv_tile, unsigned seed) {
  Geometry packs = geometry;
  packs.q_heads /= packed_heads;
  const SparsePlan one = random_plan(packs, 128 / packed_heads, kv_tile, 1, seed);
  SparsePlan plan = one;
  plan.geometry = geometry;
  plan.packed_heads = packed_heads;
  plan.blocks = plan.columns = {};
  for (int head = 0; head < geometry.q_heads; ++head)
    for (std::int64_t g = 0; g < one.groups(); ++g) {
      const std::int64_t row = head / packed_heads * one.groups() + g;
      plan.blocks.items.insert(plan.blocks.items.end(), one.blocks[row].begin(), one.blocks[row].end());
      plan.columns.items.insert(plan.columns.items.end(), one.columns[row].begin(), one.columns[row].end());
      plan.blocks.end_row();
      plan.columns.end_row();
    }
  return plan;
}

}  // namespace

TEST_CASE("plan rows of 64 queries match the reference whatever two of them have in common") {
  for (const DType dtype : kTypes)
    for (const int dim : {64, 128}) {
      CAPTURE(dim);
      const auto check = [&](const Geometry& geometry, int q_tile, int kv_tile, int tiles_per_row,
                             unsigned seed) {
        CAPTURE(geometry.q_len);
        CAPTURE(seed);
        const RandomInputs inputs = rounded_inputs(geometry, dtype, seed);
        check_plan(inputs.view(), paired_plan(inputs.geometry, q_tile, kv_tile, tiles_per_row, seed), dtype);
      };
      for (const std::int64_t length : {1, 64, 65, 129, 700})
        for (unsigned seed = 0; seed < 5; ++seed) check(square(length, dim, 2, 1), 64, 32, 1, seed);
      check(square(1300, dim, 4, 2), 64, 64, 1, 0);
      check(square(1300, dim, 2, 2), 16, 48, 4, 1);
      check(square(1200, dim, 2, 1, 530), 64, 64, 1, 2);
      check(square(1200, dim, 2, 1, 1199), 32, 32, 2, 3);
    }
}

TEST_CASE("heads with equal lists match the reference") {
  for (const DType dtype : kTypes)
    for (const int dim : {64, 128})
      for (const int packed : {2, 4, 8}) {
        CAPTURE(dim);
        CAPTURE(packed);
        for (const std::int64_t length : {1, 64, 130, 500}) {
          const RandomInputs inputs = rounded_inputs(square(length, dim, 16, 2), dtype, 5);
          check_plan(inputs.view(), packed_plan(inputs.geometry, packed, 32, 6), dtype);
        }
        const RandomInputs late = rounded_inputs(square(900, dim, 8, 1, 333), dtype, 7);
        check_plan(late.view(), packed_plan(late.geometry, packed, 128, 8), dtype);
      }
}
