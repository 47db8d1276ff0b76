#pragma once

#include <optional>
#include <string>
#include <vector>

namespace anchor {

/// A line chart for print: what figures of curves, Pareto fronts and timings are made of.
struct Chart {
  struct Series {
    std::string name;  ///< in the legend; empty: none
    std::vector<double> x, y;
    std::vector<double> low, high;  ///< intervals of y, or empty
    bool line = true, dots = false;
    bool steps = false;  ///< y holds until the next x
    bool faint = false;  ///< one of many, behind the others
  };
  std::string title, x_title, y_title;
  bool log_x = false, log_y = false;
  std::optional<double> y_low, y_high;  ///< else from the data
  std::vector<double> x_ticks;          ///< else round numbers
  std::vector<Series> series;
  std::vector<std::string> notes;  ///< sentences below the chart
};

/// The chart as an SVG document, with every named series' name at its end. Values that a log axis cannot show
/// are left out.
std::string svg_chart(const Chart& chart);

}  // namespace anchor
