#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace anchor {

/// Heights for names near the wanted ones, `gap` pixels apart or more, so that none covers another: those
/// that would are moved together around their mean (isotonic regression by pooling adjacent violators),
/// between top and bottom.
std::vector<double> spread_labels(const std::vector<double>& wanted, double gap, double top, double bottom);

/// How the n-th line of a chart is drawn, as SVG style: a colour, and from the ninth line on other dashes
/// too, so that 32 lines differ. The HTML report has the same.
std::string line_style(std::size_t n);
/// Only the dashes: ";stroke-dasharray:7 3", or nothing.
std::string line_dashes(std::size_t n);

/// Path data of the n-th line's mark around a point: a circle, a square, a triangle, a diamond.
std::string mark_path(std::size_t n, double x, double y);

}  // namespace anchor
