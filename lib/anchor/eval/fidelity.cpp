#include "anchor/eval/fidelity.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "anchor/eval/binomial.hpp"

namespace anchor {

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double place = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return std::lerp(values[below], values[above], place - static_cast<double>(below));
}

Fidelity fidelity(std::span<const Outcome> outcomes) {
  Fidelity sum;
  sum.n = static_cast<int>(outcomes.size());
  if (sum.n == 0) return sum;
  int dense_right = 0, right = 0, same_top = 0;
  std::vector<double> divergence;
  for (const Outcome& one : outcomes) {
    dense_right += one.dense.right;
    right += one.sparse.right;
    sum.flips += one.dense.right && !one.sparse.right;
    same_top += one.sparse.same_top;
    sum.density += one.density;
    divergence.insert(divergence.end(), one.sparse.divergence.begin(), one.sparse.divergence.end());
  }
  const double n = sum.n, tokens = static_cast<double>(divergence.size());
  sum.dense_accuracy = dense_right / n;
  sum.accuracy = right / n;
  sum.density /= n;
  std::tie(sum.flips_low, sum.flips_high) = clopper_pearson(sum.flips, dense_right);
  if (divergence.empty()) return sum;
  sum.same_top = same_top / tokens;
  sum.kl_mean = std::accumulate(divergence.begin(), divergence.end(), 0.) / tokens;
  sum.kl_max = *std::max_element(divergence.begin(), divergence.end());
  sum.kl_p999 = quantile(std::move(divergence), 0.999);
  return sum;
}

}  // namespace anchor
