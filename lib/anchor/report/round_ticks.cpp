#include "anchor/report/round_ticks.hpp"

#include <cmath>

namespace anchor {

std::vector<double> round_ticks(double low, double high, int count) {
  if (!(high > low)) return {low};
  const double least = (high - low) / count, power = std::pow(10.0, std::floor(std::log10(least) + 1e-9));
  double step = 10 * power;
  for (const double m : {5.0, 2.0, 1.0})
    if (m * power >= least * (1 - 1e-9)) step = m * power;
  std::vector<double> ticks;
  for (double n = std::ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; ++n) {
    ticks.push_back(step < 1 ? n / std::round(1 / step) : n * step);  // 0.7, not 7 * 0.1
  }
  return ticks;
}

}  // namespace anchor
