#include "anchor/tuning/fit_set.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"

using namespace anchor;

using Texts = std::vector<std::size_t>;

TEST_CASE("sets of a split: all together, each alone, all but one") {
  const std::vector<std::string> names{"a", "b", "c", "d"};  // d is only looked at
  const auto together = fit_sets(FitSplit::together, names, 3);
  REQUIRE(together.size() == 1);
  CHECK(together[0].fitted == Texts{0, 1, 2});
  CHECK(together[0].checked == Texts{0, 1, 2, 3});
  CHECK(together[0].fits(2));
  CHECK(!together[0].fits(3));

  const auto matrix = fit_sets(FitSplit::matrix, names, 3);
  REQUIRE(matrix.size() == 3);
  for (std::size_t n = 0; n < 3; ++n) {
    CHECK(matrix[n].name == names[n]);
    CHECK(matrix[n].fitted == Texts{n});
    CHECK(matrix[n].checked == Texts{0, 1, 2, 3});
  }

  const auto others = fit_sets(FitSplit::leave_one_out, names, 3);
  REQUIRE(others.size() == 3);
  CHECK(others[1].name == "all but b");
  CHECK(others[1].fitted == Texts{0, 2});
  CHECK(others[1].checked == Texts{1, 3});
  for (const FitSet& set : others)
    for (const std::size_t n : set.checked) CHECK(!set.fits(n));
  CHECK_THROWS_WITH_AS(fit_sets(FitSplit::leave_one_out, names, 1), doctest::Contains("two dumps"), Error);
}
