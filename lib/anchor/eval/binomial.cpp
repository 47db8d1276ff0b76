#include "anchor/eval/binomial.hpp"

#include <algorithm>
#include <cmath>

namespace anchor {
namespace {

/// P(X <= hits) for X ~ binomial(n, p).
double at_most(int hits, int n, double p) {
  if (hits >= n || p <= 0) return 1;
  if (p >= 1) return 0;
  double sum = 0;
  for (int k = 0; k <= hits; ++k) {
    const double ways = std::lgamma(n + 1.) - std::lgamma(k + 1.) - std::lgamma(n - k + 1.);
    sum += std::exp(ways + k * std::log(p) + (n - k) * std::log1p(-p));
  }
  return std::min(sum, 1.);
}

/// The p at which P(X <= hits) = level; it falls with p.
double solve(int hits, int n, double level) {
  double low = 0, high = 1;
  for (int step = 0; step < 60; ++step) {
    const double middle = (low + high) / 2;
    (at_most(hits, n, middle) > level ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace

std::pair<double, double> clopper_pearson(int hits, int n, double level) {
  if (n == 0) return {0, 1};
  const double tail = (1 - level) / 2;
  return {hits == 0 ? 0 : solve(hits - 1, n, 1 - tail), hits == n ? 1 : solve(hits, n, tail)};
}

double mcnemar(int first_only, int second_only) {
  const int fewer = std::min(first_only, second_only), n = first_only + second_only;
  return n == 0 ? 1 : std::min(1., 2 * at_most(fewer, n, 0.5));
}

}  // namespace anchor
