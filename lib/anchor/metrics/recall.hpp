#pragma once

#include <span>
#include <vector>

namespace anchor {

/// Share of softmax mass that a plan keeps, per query row: R_i = exp(lse_plan,i - lse_dense,i). Both inputs
/// are natural-log normalisers of the same rows. A row whose plan has no visible keys (lse -infinity) has R =
/// 0. What rounding puts above 1 is 1. A data error if a normaliser is not finite, or if a value lies above 1
/// beyond rounding: then one of the two is wrong.
std::vector<double> row_mass_recall(std::span<const double> lse_plan, std::span<const double> lse_dense);

/// A head's mass recall: statistics over its query rows.
struct RecallStats {
  double mean = 0;
  double p05 = 0;  ///< 5th percentile over rows
  double min = 0;
};
RecallStats recall_stats(std::vector<double> row_recall);

/// The linear-interpolation percentile (numpy's default) of at least one value; percent in [0, 100].
double percentile(std::vector<double> values, double percent);

}  // namespace anchor
