#include "anchor/rows/compare_runs.hpp"

#include <doctest/doctest.h>

using namespace anchor;

namespace {

ResultRow bench_row(const std::string& method, int tokens, double median, double half_width) {
  ResultRow row;
  row.kind = "bench";
  row.scope = "layer";
  row.method = method;
  row.geometry = Geometry{1, 1, tokens, tokens, 0, 64};
  row.device = "card";
  row.stats = {median, median - half_width, median + half_width, 20};
  row.extra["cache"] = "cold";
  return row;
}

}  // namespace

TEST_CASE("runs are compared by intervals and matched by configuration") {
  using Verdict = RunComparison::Verdict;
  const std::vector<ResultRow> before{bench_row("a", 1024, 100, 2), bench_row("b", 1024, 100, 2),
                                      bench_row("c", 1024, 100, 2), bench_row("a", 2048, 500, 2)};
  const std::vector<ResultRow> after{bench_row("c", 1024, 90, 2), bench_row("b", 1024, 103, 2),
                                     bench_row("a", 1024, 110, 2), bench_row("a", 4096, 500, 2)};
  const auto found = compare_runs(before, after);
  REQUIRE(found.size() == 3);
  CHECK(found[0].verdict == Verdict::faster);
  CHECK(found[1].verdict == Verdict::same);  // the intervals touch
  CHECK(found[2].verdict == Verdict::slower);
  CHECK(found[2].ratio == doctest::Approx(1.1));
  CHECK(compare_runs(before, after, 0.08)[2].verdict == Verdict::same);
}

TEST_CASE("fewer than six samples decide nothing") {
  using Verdict = RunComparison::Verdict;
  const ResultRow row = bench_row("a", 1024, 100, 0.1);
  for (const int few : {1, 2, 5}) {
    ResultRow other = bench_row("a", 1024, 200, 0.1);
    other.stats->n = few;
    CHECK(compare_runs(std::vector{row}, std::vector{other})[0].verdict == Verdict::too_few_samples);
    CHECK(compare_runs(std::vector{other}, std::vector{row})[0].verdict == Verdict::too_few_samples);
    other.stats->n = 6;
    CHECK(compare_runs(std::vector{row}, std::vector{other})[0].verdict == Verdict::slower);
  }
}

TEST_CASE("a knob that a search found does not keep two runs apart, a different target does") {
  ResultRow row;
  row.kind = "bench";
  row.method = "anchor";
  row.target = Target{"stripe_density", "layer", 0.03};
  row.extra["knob"] = std::string("theta");
  row.stats = {100, 99, 101, 20};
  row.params = {{"theta", 3.1}, {"step", 1.}};
  const ResultRow before = row;
  row.params["theta"] = 3.2;
  const ResultRow after = row;
  row.target->value = 0.1;
  const ResultRow other = row;
  CHECK(compare_runs(std::vector{before}, std::vector{after}).size() == 1);
  CHECK(compare_runs(std::vector{before}, std::vector{other}).empty());
}

TEST_CASE("a configuration that occurs twice in a file counts by its last row") {
  const std::vector<ResultRow> before{bench_row("a", 1024, 500, 1), bench_row("a", 1024, 100, 1)};
  const std::vector<ResultRow> after{bench_row("a", 1024, 300, 1), bench_row("a", 1024, 101, 1)};
  const auto found = compare_runs(before, after);
  REQUIRE(found.size() == 1);
  CHECK(found[0].ratio == doctest::Approx(1.01));
}

TEST_CASE("everything that says what was measured keeps two runs apart") {
  const ResultRow row = bench_row("a", 1024, 100, 2);
  const auto apart = [&](auto change) {
    ResultRow other = row;
    change(other);
    return compare_runs(std::vector{row}, std::vector{other}).empty();
  };
  CHECK_FALSE(apart([](ResultRow& r) { r.density = 0.5; }));
  CHECK_FALSE(apart([](ResultRow& r) { r.argv = {"anchor-bench"}; }));
  CHECK_FALSE(apart([](ResultRow& r) { r.tool = ToolInfo{"9", "abc", true, "Debug"}; }));
  CHECK(apart([](ResultRow& r) { r.method = std::string("b"); }));
  CHECK(apart([](ResultRow& r) { r.params["step"] = 4.; }));
  CHECK(apart([](ResultRow& r) { r.device = "other card"; }));
  CHECK(apart([](ResultRow& r) { r.dtype = "f16"; }));
  CHECK(apart([](ResultRow& r) { r.layer = 3; }));
  CHECK(apart([](ResultRow& r) { r.dump_path = "d.h5"; }));
  CHECK(apart([](ResultRow& r) { r.extra["cache"] = std::string("warm"); }));
  CHECK(apart([](ResultRow& r) { r.status = "error"; }));  // nothing to compare
  CHECK(apart([](ResultRow& r) { r.stats.reset(); }));
}
