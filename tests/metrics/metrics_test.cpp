#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "anchor/base/error.hpp"
#include "anchor/metrics/difference.hpp"
#include "anchor/metrics/recall.hpp"

using namespace anchor;

TEST_CASE("mass recall is exp of the difference of two normalisers, at most 1") {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> plan{0, -1, -infinity, 100.00001}, dense{0, 0, 2, 100};
  const auto recall = row_mass_recall(plan, dense);
  CHECK(recall[0] == 1);
  CHECK(recall[1] == doctest::Approx(std::exp(-1.0)));
  CHECK(recall[2] == 0);
  CHECK(recall[3] == 1);  // what rounding adds is cut off
  CHECK_THROWS_AS(row_mass_recall(plan, std::vector<double>(3)), Error);
  const auto one = [](double sparse, double full) {
    return row_mass_recall(std::vector{sparse}, std::vector{full})[0];
  };
  CHECK_THROWS_WITH_AS(one(100.5, 100), doctest::Contains("one of the normalisers is wrong"), Error);
  for (const double bad : {std::nan(""), infinity, -infinity})
    CHECK_THROWS_WITH_AS(one(0, bad), doctest::Contains("not finite"), Error);
  CHECK_THROWS_WITH_AS(one(std::nan(""), 0), doctest::Contains("not finite"), Error);
}

TEST_CASE("outputs that are not finite are no output difference") {
  OutputDifference difference;
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    CHECK_THROWS_WITH_AS(difference.add(std::vector{1.f, bad}, std::vector{1.f, 2.f}),
                         doctest::Contains("not finite"), Error);
    CHECK_THROWS_WITH_AS(difference.add(std::vector{1.f, 2.f}, std::vector{bad, 2.f}),
                         doctest::Contains("not finite"), Error);
  }
}

TEST_CASE("percentile interpolates like numpy's default") {
  // numpy.percentile([7, 1, 5, 3], q) for q = 0, 5, 25, 50, 100
  const std::vector<double> values{7, 1, 5, 3};
  CHECK(percentile(values, 0) == 1);
  CHECK(percentile(values, 5) == doctest::Approx(1.3));
  CHECK(percentile(values, 25) == doctest::Approx(2.5));
  CHECK(percentile(values, 50) == doctest::Approx(4));
  CHECK(percentile(values, 100) == 7);
  CHECK(percentile({2.5}, 5) == 2.5);
}

TEST_CASE("recall statistics over rows") {
  std::vector<double> rows(101);
  for (int i = 0; i <= 100; ++i) rows[static_cast<std::size_t>((i * 37) % 101)] = i / 100.0;
  const RecallStats stats = recall_stats(rows);
  CHECK(stats.mean == doctest::Approx(0.5));
  CHECK(stats.p05 == doctest::Approx(0.05));
  CHECK(stats.min == 0);
}

TEST_CASE("output difference does not depend on how the rows are cut") {
  const std::vector<float> dense{1, -2, 3, 0, 0.5f, 4}, sparse{1, -2.004f, 3.007f, 0.5f, 0.5f, 4.01f};
  OutputDifference whole, pieces;
  whole.add(sparse, dense);
  for (std::size_t i = 0; i < dense.size(); i += 2) {
    pieces.add(std::span(sparse).subspan(i, 2), std::span(dense).subspan(i, 2));
  }
  CHECK(whole.max_abs() == doctest::Approx(0.5));
  CHECK(whole.recall_001() == doctest::Approx(4.0 / 6));  // 4.01 - 4 rounds to just above the tolerance
  CHECK(whole.recall_0005() == doctest::Approx(3.0 / 6));
  CHECK(whole.mean_abs() == doctest::Approx((0.004 + 0.007 + 0.5 + 0.01) / 6).epsilon(1e-4));
  CHECK(whole.relative_l2() ==
        doctest::Approx(std::sqrt((16e-6 + 49e-6 + 0.25 + 1e-4) / (1 + 4 + 9 + 0.25 + 16))).epsilon(1e-4));
  CHECK(pieces.relative_l2() == whole.relative_l2());
  CHECK(pieces.recall_001() == whole.recall_001());
}

TEST_CASE("equal outputs have no error, a zero dense output with an error has an infinite one") {
  OutputDifference equal, from_zero;
  const std::vector<float> zero{0, 0}, one{1, 0};
  equal.add(zero, zero);
  CHECK(equal.relative_l2() == 0);
  CHECK(equal.recall_0005() == 1);
  from_zero.add(one, zero);
  CHECK(std::isinf(from_zero.relative_l2()));
}
