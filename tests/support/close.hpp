#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <span>
#include <vector>

namespace anchor::test {

/// Non-finite values must stand in the same places; then the largest difference, relative to 1 + |expected|,
/// must stay within `tolerance`. Reports the worst index.
template <class A, class B>
void check_close(std::span<const A> actual, std::span<const B> expected, double tolerance) {
  REQUIRE(actual.size() == expected.size());
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double a = static_cast<double>(actual[i]), e = static_cast<double>(expected[i]);
    if (!std::isfinite(a) || !std::isfinite(e)) {
      const bool same = (std::isnan(a) && std::isnan(e)) || a == e;
      CHECK_MESSAGE(same, "index ", i, ": ", a, " against ", e);
      if (!same) return;
      continue;
    }
    const double error = std::abs(a - e) / (1 + std::abs(e));
    if (error > worst) worst = error, at = i;
  }
  if (!actual.empty())
    CHECK_MESSAGE(worst <= tolerance, "worst index ", at, ": ", actual[at], " against ", expected[at]);
}

template <class A, class B>
void check_close(const std::vector<A>& actual, const std::vector<B>& expected, double tolerance) {
  check_close(std::span<const A>(actual), std::span<const B>(expected), tolerance);
}

}  // namespace anchor::test
