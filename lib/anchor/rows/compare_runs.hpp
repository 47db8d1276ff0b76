#pragma once

#include <span>
#include <string>
#include <vector>

#include "anchor/rows/result_row.hpp"

namespace anchor {

/// One configuration in two benchmark files.
struct RunComparison {
  enum class Verdict { same, faster, slower, too_few_samples };
  ResultRow before, after;  ///< the two rows
  double ratio = 1;         ///< median after / median before
  Verdict verdict = Verdict::same;
};

/// Rows of both files that measured the same thing (data, shapes, method, parameters, target, device, path
/// family and cache), in the order of `after`; a configuration that occurs twice in a file counts by its last
/// row. faster and slower need confidence intervals that do not touch, by more than `margin` of the median; a
/// row of fewer than six samples has none.
std::vector<RunComparison> compare_runs(std::span<const ResultRow> before, std::span<const ResultRow> after,
                                        double margin = 0);

}  // namespace anchor
