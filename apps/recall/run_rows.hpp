#pragma once

#include <string>
#include <vector>

#include "anchor/report/heatmap.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor::recall {

/// The rows of several runs over the same heads, without their bulk.
struct RunRows {
  std::vector<std::string> names;  ///< one per run, such as "anchor theta=12"
  std::vector<ResultRow> rows;     ///< run by run within each head

  std::vector<const ResultRow*> of(std::size_t run) const;
};

/// Sums up each run in a table: means over heads, and the head that loses most.
std::string summary_table(const RunRows& runs, int width);

/// Density and recall of every layer as two lines of bars; empty for a single layer.
std::string layer_bars(const RunRows& runs, std::size_t run, int width);

/// A metric of every head.
Heatmap metric_heatmap(const RunRows& runs, std::size_t run, const std::string& metric,
                       const std::string& model);

}  // namespace anchor::recall
