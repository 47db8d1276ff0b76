#pragma once

#include <string>
#include <vector>

namespace anchor {

/// One method's way from sparse to dense: points ordered by density.
struct FrontLine {
  std::string name;
  std::vector<double> density, mass_recall;
  bool step = true;  ///< a step function; else straight lines between points
  std::vector<double> error_density = {}, out_rel_l2 = {};  ///< plans whose output errors were measured
};

/// The density that several methods need for a mean mass recall, and where it was measured for a relative L2
/// error of the output, as an SVG document: a panel each, on logarithmic scales (of the recall that is lost),
/// with every line's name at its end.
std::string front_svg(const std::vector<FrontLine>& lines, const std::string& title);

}  // namespace anchor
