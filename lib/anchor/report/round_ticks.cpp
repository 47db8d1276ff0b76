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
    const double value = n * step;
    ticks.push_back(std::abs(value) < 1e-12 * step ? 0 : value);
  }
  return ticks;
}

}  // namespace anchor
