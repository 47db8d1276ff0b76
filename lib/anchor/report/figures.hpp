#pragma once

#include <span>
#include <string>

#include "anchor/report/chart.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {

// Figures of result rows. Each is a data error that names the rows it needs where there are none.

/// Mass recall against density, means over heads: a line per method of head curves (one knob for all heads),
/// a dot per setting of replayed or searched heads.
Chart front_figure(std::span<const ResultRow> rows);

/// Every head's exact curve, and their mean under one knob.
Chart curves_figure(std::span<const ResultRow> rows);

/// Median time against length, with 95 % intervals, a line per method.
Chart bench_figure(std::span<const ResultRow> rows);

}  // namespace anchor
