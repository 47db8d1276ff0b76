#include <doctest/doctest.h>

#include <random>

#include "anchor/kernels/stats.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "support/gpu/device_inputs.hpp"
#include "support/random.hpp"

using namespace anchor;
using namespace anchor::test;

namespace {

/// The device's counts of a plan's lists equal plan_stats() of the plan, head by head.
void check_counts(const SparsePlan& plan) {
  CAPTURE(plan.geometry.q_len);
  CAPTURE(plan.geometry.kv_len);
  CAPTURE(plan.geometry.q_start);
  CAPTURE(plan.q_tile);
  CAPTURE(plan.kv_tile);
  CAPTURE(plan.tiles_per_row);
  const kernels::Stream stream;
  const DevicePlanLists lists(plan, stream);
  const Geometry& g = plan.geometry;
  const kernels::Shape shape{.q_heads = g.q_heads,
                             .kv_heads = g.kv_heads,
                             .q_len = g.q_len,
                             .kv_len = g.kv_len,
                             .q_start = g.q_start,
                             .sliding_window = g.windowed() ? g.sliding_window : 0};
  std::vector<kernels::PairCounts> counts(static_cast<std::size_t>(g.q_heads));
  kernels::DeviceBuffer buffer(counts.size() * sizeof counts[0]);
  buffer.fill(0xff, stream);
  kernels::count_pairs(shape, lists.params, buffer.data<kernels::PairCounts>(), stream);
  buffer.download(counts.data(), buffer.bytes(), stream);
  for (int head = 0; head < g.q_heads; ++head) {
    CAPTURE(head);
    const PlanStats expected = plan_stats(plan, head);
    const kernels::PairCounts& got = counts[static_cast<std::size_t>(head)];
    CHECK(got.visible == expected.visible_pairs);
    CHECK(got.work == expected.work_pairs);
    CHECK(got.stripe == expected.stripe_pairs);
  }
}

}  // namespace

TEST_CASE("pairs of any plan are counted as on the host: ragged tiles, clipped blocks, late queries") {
  struct Tiling {
    int q_tile, kv_tile, tiles_per_row;
  };
  unsigned seed = 0;
  for (const auto& [length, q_start] :
       {std::pair{1, 0}, {127, 0}, {128, 0}, {129, 0}, {777, 0}, {1000, 700}, {1000, 999}})
    for (const Tiling& t :
         {Tiling{128, 128, 1}, {128, 128, 3}, {64, 32, 2}, {100, 48, 3}, {1, 16, 1}, {16, 200, 300}})
      check_counts(
          random_plan(square(length, 64, 4, 2, q_start), t.q_tile, t.kv_tile, t.tiles_per_row, ++seed));
  Geometry early = square(1000, 64, 2, 1, 300);  // more keys than queries can see
  early.q_len = 200;
  check_counts(random_plan(early, 128, 128, 2, 5));
}

TEST_CASE("pairs under windows are counted to the token") {
  for (const std::int64_t length : {1, 130, 900}) {
    const std::vector<SparsePlan::Window> windows{{4, {128, 300}, length},
                                                  {0, {1, 2}, length},
                                                  {100, {77, 1000}, length * 2 / 3},
                                                  {0, {300, 300}, 0},
                                                  {length, {1, 1}, length}};
    for (const SparsePlan::Window& window : windows)
      for (SparsePlan plan :
           {dense_plan(square(length, 64, 2, 1)), random_plan(square(length, 64, 2, 1), 128, 64, 2, 9)}) {
        plan.window = window;
        check_counts(plan);
        for (const std::int64_t sliding : {1, 90, 400}) {  // the layer's window, beside the plan's and alone
          plan.geometry.sliding_window = sliding;
          check_counts(plan);
          SparsePlan alone = plan;
          alone.window.reset();
          check_counts(alone);
        }
      }
  }
}

TEST_CASE("a long dense plan has more pairs than 32 bits hold") {
  check_counts(dense_plan(square(131072, 64, 2, 1)));
}
