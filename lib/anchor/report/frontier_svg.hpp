#pragma once

#include <string>
#include <vector>

namespace anchor {

/// One method's way from sparse to dense: points ordered by density.
struct FrontierLine {
  std::string name;
  std::vector<double> density, mass_recall;
  bool step = true;  ///< a step function; else straight lines between points
};

/// Mass recall over density (logarithmic) of several methods, as an SVG document.
std::string frontier_svg(const std::vector<FrontierLine>& lines, const std::string& title);

}  // namespace anchor
