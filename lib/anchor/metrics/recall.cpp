#include "anchor/metrics/recall.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"

namespace anchor {

std::vector<double> row_mass_recall(std::span<const double> lse_plan, std::span<const double> lse_dense) {
  if (lse_plan.size() != lse_dense.size()) {
    fail("mass recall compares {} rows with {}", lse_plan.size(), lse_dense.size());
  }
  std::vector<double> recall(lse_plan.size());
  for (std::size_t i = 0; i < recall.size(); ++i) {
    if (!std::isfinite(lse_dense[i]) || std::isnan(lse_plan[i]))
      fail("row {}: the softmax normaliser is not finite (scores overflow float, or an input is NaN)", i);
    recall[i] = std::exp(lse_plan[i] - lse_dense[i]);
    // A float normaliser, as devices store it, is off by a part in 2^24 of its size, and so is its
    // logarithm's sum.
    const double rounding = 1e-3 + 0x1p-20 * std::abs(lse_dense[i]);
    if (recall[i] > 1 + rounding)
      fail("row {}: the plan keeps {} times the dense softmax mass: one of the normalisers is wrong", i,
           recall[i]);
    recall[i] = std::min(recall[i], 1.);
  }
  return recall;
}

double percentile(std::vector<double> values, double percent) {
  if (values.empty()) fail("a percentile needs at least one value");
  const double rank = percent / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::ptrdiff_t>(rank);
  const double weight = rank - static_cast<double>(below);
  std::nth_element(values.begin(), values.begin() + below, values.end());
  const double low = values[static_cast<std::size_t>(below)];
  if (weight == 0) return low;
  const double high = *std::min_element(values.begin() + below + 1, values.end());
  return low + weight * (high - low);
}

RecallStats recall_stats(std::vector<double> row_recall) {
  if (row_recall.empty()) fail("mass recall needs at least one row");
  RecallStats stats;
  for (const double value : row_recall) stats.mean += value;
  stats.mean /= static_cast<double>(row_recall.size());
  stats.min = *std::min_element(row_recall.begin(), row_recall.end());
  stats.p05 = percentile(std::move(row_recall), 5);
  return stats;
}

}  // namespace anchor
