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
  for (std::size_t i = 0; i < recall.size(); ++i) recall[i] = std::exp(lse_plan[i] - lse_dense[i]);
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
