#include "anchor/metrics/difference.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"

namespace anchor {

void OutputDifference::add(std::span<const float> sparse, std::span<const float> dense) {
  if (sparse.size() != dense.size())
    fail("output difference compares {} elements with {}", sparse.size(), dense.size());
  for (std::size_t i = 0; i < sparse.size(); ++i) {
    const float difference = std::abs(sparse[i] - dense[i]);
    within_001_ += difference < 0.01f;
    within_0005_ += difference < 0.005f;
    const double wide = difference, value = dense[i];
    sum_abs_ += wide;
    max_abs_ = std::max(max_abs_, wide);
    sum_squares_ += wide * wide;
    dense_squares_ += value * value;
  }
  count_ += static_cast<std::int64_t>(sparse.size());
}

double OutputDifference::relative_l2() const {
  return sum_squares_ == 0 ? 0 : std::sqrt(sum_squares_ / dense_squares_);
}

}  // namespace anchor
