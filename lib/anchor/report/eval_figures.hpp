#pragma once

#include <span>
#include <string>

#include "anchor/eval/answer_set.hpp"
#include "anchor/report/chart.hpp"

namespace anchor {

// Figures of what sparse attention does to answers. Each is a data error that names the rows it needs where
// there are none.

/// KL divergence against what it costs, a line per method: milliseconds of attention where every setting has
/// them, else density. Both axes are logarithmic.
Chart kl_figure(std::span<const AnswerSet> sets);

/// Flips in % of what dense attention gets right, with their intervals, against the same.
Chart flips_figure(std::span<const AnswerSet> sets);

/// The needle picture of every setting, as one SVG document: depth downward, length to the right, the share
/// of answers that stay right as colour. Settings without a question that has a depth are left out.
std::string svg_depth_maps(std::span<const AnswerSet> sets);

}  // namespace anchor
