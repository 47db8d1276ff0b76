#include "anchor/metrics/peak_recall.hpp"

#include <doctest/doctest.h>

using namespace anchor;

namespace {

/// 100 rows in tiles of 10: every tile keeps the first 10 keys and key 25.
SparsePlan small_plan() {
  SparsePlan plan{.geometry = {.q_heads = 2, .kv_heads = 1, .q_len = 100, .kv_len = 100}};
  plan.q_tile = plan.kv_tile = 10;
  for (std::int64_t row = 0; row < plan.rows(); ++row) {
    plan.blocks.items.push_back(0);
    if (row % plan.groups() > 2) plan.columns.items.push_back(25);
    plan.blocks.end_row();
    plan.columns.end_row();
  }
  return plan;
}

const std::vector<Peak> peaks{{5, 5, 1.f}, {40, 3, .25f}, {40, 12, .5f}, {41, 25, .0625f}, {99, 98, .0626f}};

}  // namespace

TEST_CASE("peaks are counted from each weight on, kept where the plan lists the key, and parts add up") {
  const SparsePlan plan = small_plan();
  const PeakCounts counts = count_peaks(plan, 1, 0, peaks, {0, 100});
  CHECK(counts.all == std::array<std::int64_t, 2>{3, 5});
  CHECK(counts.kept == std::array<std::int64_t, 2>{2, 3});
  CHECK(counts.recall(0) == doctest::Approx(2. / 3));
  PeakCounts sum;
  for (const RowRange rows : {RowRange{0, 40}, RowRange{40, 41}, RowRange{41, 100}})
    sum += count_peaks(plan, 1, 0, peaks, rows);
  CHECK(sum.all == counts.all);
  CHECK(sum.kept == counts.kept);
  CHECK(count_peaks(plan, 0, 0, peaks, {99, 100}).recall(1) == 0.);
}

TEST_CASE("where there are no peaks there is no recall") {
  const PeakCounts none = count_peaks(small_plan(), 0, 0, peaks, {50, 90});
  CHECK_FALSE(none.recall(0));
  CHECK_FALSE(none.recall(1));
  CHECK_FALSE(count_peaks(small_plan(), 0, 0, peaks, {99, 100}).recall(0));
}

TEST_CASE("a plan of some query rows counts its own peaks, and a window takes what it hides") {
  SparsePlan late = small_plan();
  late.geometry = late.geometry.rows(40, 100);
  late.blocks = late.columns = {};
  for (std::int64_t row = 0; row < late.rows(); ++row) {
    late.blocks.items.push_back(0);
    late.blocks.end_row();
    late.columns.end_row();
  }
  const PeakCounts counts = count_peaks(late, 0, 40, peaks, {0, 100});
  CHECK(counts.all == std::array<std::int64_t, 2>{2, 4});
  CHECK(counts.kept == std::array<std::int64_t, 2>{1, 1});
  late.window = SparsePlan::Window{.sink = 0, .local = {10, 10}, .dense_from = 1000};
  CHECK(count_peaks(late, 0, 40, peaks, {0, 100}).kept[1] == 0);
}
