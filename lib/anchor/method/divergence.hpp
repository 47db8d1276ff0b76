#pragma once

#include <cmath>
#include <cstddef>
#include <span>

namespace anchor {

/// Square root of the Jensen-Shannon divergence of two distributions, natural log (at most sqrt(ln 2)). An
/// exact zero in either, or a radicand that rounds below zero, gives NaN: released code compares that with
/// its thresholds, so that "similar" is false.
inline double js_distance(std::span<const float> p, std::span<const float> q) {
  double sum = 0;
  for (std::size_t n = 0; n < p.size(); ++n) {
    const auto a = static_cast<double>(p[n]), b = static_cast<double>(q[n]), mean = (a + b) / 2;
    sum += 0.5 * a * std::log(a / mean) + 0.5 * b * std::log(b / mean);
  }
  return std::sqrt(sum);
}

}  // namespace anchor
