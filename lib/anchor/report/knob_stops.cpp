#include "anchor/report/knob_stops.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace anchor {
namespace {

/// A value without the noise of arithmetic in its last digits: 0.3, not 0.30000000000000004.
double rounded(double value) {
  if (value == 0 || !std::isfinite(value)) return value;
  const double digits = std::pow(10.0, 9 - std::floor(std::log10(std::abs(value))));
  return std::round(value * digits) / digits;
}

/// Multiples of the least of 1, 2, 5, 10, ... times a power of ten that gives at most `count` of them.
std::vector<double> even_numbers(double low, double high, bool whole, double count) {
  const double least = (high - low) / count, power = std::pow(10.0, std::floor(std::log10(least)));
  double step = 10 * power;
  for (const double m : {5.0, 2.0, 1.0})
    if (m * power >= least) step = m * power;
  if (whole) step = std::max(1.0, step);
  std::vector<double> values;
  for (double n = std::ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; ++n)
    values.push_back(rounded(n * step));
  return values;
}

/// The same share of a decade apart, rounded to two digits (whole: to whole numbers).
std::vector<double> even_ratios(double low, double high, bool whole, double count) {
  std::vector<double> values;
  const double step = std::log(high / low) / count;
  for (double n = 0; n <= count; ++n) {
    const double value = low * std::exp(step * n), power = std::pow(10.0, std::floor(std::log10(value)) - 1);
    values.push_back(whole ? std::round(value) : rounded(std::round(value / power) * power));
  }
  return values;
}

}  // namespace

std::vector<double> merged_stops(std::vector<double> stops, std::span<const double> more, bool descending) {
  stops.insert(stops.end(), more.begin(), more.end());
  std::sort(stops.begin(), stops.end());
  if (descending) std::reverse(stops.begin(), stops.end());
  stops.erase(std::unique(stops.begin(), stops.end()), stops.end());
  return stops;
}

std::vector<double> knob_stops(const ParamSpec& knob, const Curve& mean, std::span<const double> wanted,
                               std::size_t count) {
  std::vector<double> ends{knob.minimum, knob.maximum};
  // Nine hundred and ninety thousandths of what the knob can change lie between these.
  const auto knob_at = [&](double part) {
    const double density = std::lerp(mean.density.front(), mean.density.back(), part);
    const auto at = std::lower_bound(mean.density.begin(), mean.density.end(), density);
    return mean.knob[std::min(static_cast<std::size_t>(at - mean.density.begin()), mean.size() - 1)];
  };
  double low = knob_at(0.005), high = knob_at(0.995);
  if (mean.descending) std::swap(low, high);
  low = std::max(low, knob.minimum);
  high = std::min(high, knob.maximum);
  std::vector<double> stops;
  const bool whole = knob.kind == ParamSpec::Kind::integer;
  const double room = std::max(1.0, static_cast<double>(count) - 3);
  if (std::isfinite(low) && std::isfinite(high) && low < high) {
    const bool ratios = low > 0 && high > 30 * low && knob.minimum >= 0;
    stops = ratios ? even_ratios(low, high, whole, room) : even_numbers(low, high, whole, room);
  } else if (std::isfinite(low)) {
    stops = {low};
  }
  std::erase_if(stops, [&](double stop) { return stop < knob.minimum || stop > knob.maximum; });
  stops.insert(stops.end(), wanted.begin(), wanted.end());
  return merged_stops(std::move(ends), stops, mean.descending);
}

}  // namespace anchor
