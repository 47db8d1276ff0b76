#include "anchor/metrics/difference.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"

namespace anchor {

void OutputDifference::add(std::span<const float> sparse, std::span<const float> dense) {
  if (sparse.size() != dense.size())
    fail("output difference compares {} elements with {}", sparse.size(), dense.size());
  Sums sums{.count = static_cast<std::int64_t>(sparse.size())};
  for (std::size_t i = 0; i < sparse.size(); ++i) {
    const float difference = std::abs(sparse[i] - dense[i]);
    sums.within_001 += difference < 0.01f;
    sums.within_0005 += difference < 0.005f;
    const double wide = difference, value = dense[i];
    sums.abs += wide;
    sums.max_abs = std::max(sums.max_abs, wide);
    sums.squares += wide * wide;
    sums.dense_squares += value * value;
  }
  add(sums);
}

void OutputDifference::add(const Sums& sums) {
  if (!std::isfinite(sums.squares) || !std::isfinite(sums.dense_squares))
    fail("the attention output is not finite (values overflow float, or an input is NaN)");
  sums_.count += sums.count;
  sums_.within_001 += sums.within_001;
  sums_.within_0005 += sums.within_0005;
  sums_.abs += sums.abs;
  sums_.max_abs = std::max(sums_.max_abs, sums.max_abs);
  sums_.squares += sums.squares;
  sums_.dense_squares += sums.dense_squares;
}

double OutputDifference::relative_l2() const {
  return sums_.squares == 0 ? 0 : std::sqrt(sums_.squares / sums_.dense_squares);
}

}  // namespace anchor
