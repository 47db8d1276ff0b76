#include "anchor/plan/sparse_plan.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/attention/reference.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "support/random.hpp"

using namespace anchor;
using test::random_plan;
using test::square;

namespace {

/// Visible pairs of a head, counted from the definition.
std::int64_t count_pairs(const SparsePlan& plan, int head) {
  std::int64_t pairs = 0;
  for (std::int64_t i = 0; i < plan.geometry.q_len; ++i) {
    const std::int64_t row = plan.row_of(head, i);
    std::vector<bool> seen(static_cast<std::size_t>(plan.geometry.kv_len), false);
    for (const auto start : plan.blocks[row]) {
      for (std::int64_t j = start; j < start + plan.block_width(start); ++j)
        seen[static_cast<std::size_t>(j)] = true;
    }
    for (const auto j : plan.columns[row]) seen[static_cast<std::size_t>(j)] = true;
    for (std::int64_t j = 0; j < plan.geometry.kv_len; ++j) {
      pairs += seen[static_cast<std::size_t>(j)] && plan.allows(head, plan.geometry.q_start + i, j);
    }
  }
  return pairs;
}

}  // namespace

TEST_CASE("the dense plan is valid and keeps every causal pair") {
  for (const std::int64_t length : {1, 127, 128, 129, 640, 1000}) {
    for (const std::int64_t q_start : {std::int64_t{0}, length / 3}) {
      const SparsePlan plan = dense_plan(square(length, 8, 2, 1, q_start));
      CHECK(validate(plan) == "");
      const PlanStats stats = plan_stats(plan, 1);
      CHECK(stats.causal_pairs == plan.geometry.causal_pairs());
      CHECK(stats.visible_pairs == stats.causal_pairs);
      CHECK(stats.work_pairs >= stats.visible_pairs);
    }
  }
}

TEST_CASE("statistics equal a brute-force count, with and without a window") {
  unsigned seed = 0;
  for (const std::int64_t length : {1, 31, 33, 200}) {
    for (const int q_tile : {1, 16, 64}) {
      for (const int tiles : {1, 3}) {
        for (const std::int64_t q_start : {std::int64_t{0}, length / 2}) {
          SparsePlan plan = random_plan(square(length, 8, 2, 2, q_start), q_tile, 8, tiles, ++seed);
          REQUIRE(validate(plan) == "");
          CHECK(plan_stats(plan, 0).visible_pairs == count_pairs(plan, 0));
          CHECK(plan_stats(plan, 1).visible_pairs <= plan_stats(plan, 1).work_pairs);
          plan.window = SparsePlan::Window{.sink = 5, .local = {9, 4}, .dense_from = length - 4};
          CHECK(plan_stats(plan, 1).visible_pairs == count_pairs(plan, 1));
          for (const std::int64_t sliding : {1, 6, 30}) {  // the layer's window, beside the plan's and alone
            plan.geometry.sliding_window = sliding;
            CHECK(plan_stats(plan, 1).visible_pairs == count_pairs(plan, 1));
            SparsePlan open = plan;
            open.window.reset();
            CHECK(plan_stats(open, 0).visible_pairs == count_pairs(open, 0));
            CHECK(plan_stats(open, 0).visible_pairs <= plan_stats(open, 0).work_pairs);
          }
        }
      }
    }
  }
}

TEST_CASE("what a layer's window hides from all rows of a list can go: nothing changes") {
  for (const std::int64_t window : {1, 20, 90, 200}) {
    auto inputs = test::random_inputs(square(200, 8, 2, 2), 3);
    inputs.geometry.sliding_window = window;
    const SparsePlan plan = random_plan(inputs.geometry, 16, 8, 2, unsigned(window));
    const SparsePlan less = within_window(plan);
    CHECK((less.blocks.items.size() < plan.blocks.items.size()) == (window < 150));
    CHECK(reference_attention(inputs.view(), less).out == reference_attention(inputs.view(), plan).out);
    CHECK(cpu_attention(inputs.view(), less).lse == cpu_attention(inputs.view(), plan).lse);
    CHECK(plan_stats(less, 1).visible_pairs == plan_stats(plan, 1).visible_pairs);
    CHECK(plan_stats(less, 1).work_pairs == plan_stats(plan, 1).work_pairs);
  }
}

TEST_CASE("validate names the first broken invariant") {
  const SparsePlan good = random_plan(square(200), 16, 8, 2, 7);
  const auto broken = [&](auto change) {
    SparsePlan plan = good;
    change(plan);
    return validate(plan);
  };
  CHECK(broken([](SparsePlan&) {}) == "");
  CHECK(broken([](SparsePlan& p) { p.blocks.offsets.pop_back(); }).find("rows") != std::string::npos);
  CHECK(broken([](SparsePlan& p) { p.columns.offsets[0] = 1; }).find("start at 1") != std::string::npos);
  CHECK(broken([](SparsePlan& p) { p.columns.offsets[1] = 1 << 20; }).find("fall") != std::string::npos);
  CHECK(broken([](SparsePlan& p) { p.columns.items.push_back(3); }).find("end at") != std::string::npos);
  CHECK(broken([](SparsePlan& p) { p.columns.items[0] = -1; }).find("outside") != std::string::npos);
  CHECK(broken([](SparsePlan& p) { p.columns.items.back() = 200; }).find("outside") != std::string::npos);
  CHECK(broken([](SparsePlan& p) { std::swap(p.columns.items[0], p.columns.items[1]); }).find("follows") !=
        std::string::npos);
  CHECK(broken([](SparsePlan& p) { p.q_tile = 0; }).find("tile") != std::string::npos);

  SparsePlan row{.geometry = square(64), .q_tile = 64, .kv_tile = 16};
  row.blocks = {{0, 2}, {0, 10}};
  row.columns = {{0, 0}, {}};
  CHECK(validate(row).find("overlap") != std::string::npos);
  row.blocks = {{0, 1}, {16}};
  CHECK(validate(row).find("sees no key") != std::string::npos);
  row.columns = {{0, 1}, {20}};
  CHECK(validate(row).find("inside a block") != std::string::npos);
  row.blocks = {{0, 4}, {0, 16, 32, 48}};
  row.columns = {{0, 0}, {}};
  CHECK(validate(row) == "");
  row.window = SparsePlan::Window{.sink = 0, .local = {0}, .dense_from = 64};
  CHECK(validate(row).find("itself") != std::string::npos);
  row.window.reset();
  row.blocks = {{0, 1}, {0}};
  row.dup = {{0, 1}, {17}};
  CHECK(validate(row).find("not visible") != std::string::npos);
  row.dup = {};
  row.geometry.sliding_window = 8;
  CHECK(validate(row) == "");  // the last rows see nothing, the first ones do
  SparsePlan late{.geometry = square(64, 64, 1, 1, 32), .q_tile = 32, .kv_tile = 16};
  late.geometry.sliding_window = 8;
  late.blocks = {{0, 1}, {0}};
  late.columns = {{0, 0}, {}};
  CHECK(validate(late).find("no query sees a key in the sliding window") != std::string::npos);
}

TEST_CASE("a run becomes blocks, and columns where a block would show too much") {
  SparsePlan plan{.geometry = square(100), .q_tile = 50, .kv_tile = 16};
  append_run(plan, 3, 40, 50);  // 3, 19 fit; [35, 40) would show 40..49
  CHECK(plan.blocks.items == std::vector<std::int32_t>{3, 19});
  CHECK(plan.columns.items == std::vector<std::int32_t>{35, 36, 37, 38, 39});
  SparsePlan hidden{.geometry = square(100), .q_tile = 50, .kv_tile = 16};
  append_run(hidden, 40, 50, 50);  // overshoot lies beyond the last query
  CHECK(hidden.blocks.items == std::vector<std::int32_t>{40});
  SparsePlan tail{.geometry = square(100), .q_tile = 50, .kv_tile = 16};
  append_run(tail, 90, 100, 200);  // clipped at kv_len
  CHECK(tail.blocks.items == std::vector<std::int32_t>{90});
}

TEST_CASE("sizes at the ends of their types do not wrap") {
  SparsePlan plan = dense_plan(square(64, 8, 2, 1, 0));
  plan.window = SparsePlan::Window{
      .sink = 0, .local = {std::numeric_limits<std::int64_t>::max(), 64}, .dense_from = 64};
  REQUIRE(validate(plan) == "");
  CHECK(plan_stats(plan, 0).visible_pairs == count_pairs(plan, 0));
  plan.window.reset();
  plan.kv_tile = std::numeric_limits<int>::max();
  for (const int head : {0, 1}) plan.blocks.offsets[static_cast<std::size_t>(head) + 1] = 2 * (head + 1);
  plan.blocks.items = {3, 5, 3, 5};
  CHECK(validate(plan).find("overlap") != std::string::npos);
}
