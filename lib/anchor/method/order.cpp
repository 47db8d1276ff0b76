#include "anchor/method/order.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace anchor {

std::vector<std::int32_t> by_score(std::span<const float> scores) {
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  return order;
}

std::vector<std::int32_t> top(std::span<const float> scores, std::int64_t count) {
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  if (count >= std::ssize(order)) return order;
  const auto before = [&](std::int32_t a, std::int32_t b) {
    const float x = scores[static_cast<std::size_t>(a)], y = scores[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
  std::nth_element(order.begin(), order.begin() + count, order.end(), before);
  order.resize(static_cast<std::size_t>(count));
  std::sort(order.begin(), order.end());
  return order;
}

float above(double x) {
  const auto near = static_cast<float>(x);
  return static_cast<double>(near) > x ? near : std::nextafter(near, std::numeric_limits<float>::infinity());
}

float at_least(double x) {
  const auto near = static_cast<float>(x);
  return static_cast<double>(near) >= x ? near : std::nextafter(near, std::numeric_limits<float>::infinity());
}

float below(double x) { return -above(-x); }
float at_most(double x) { return -at_least(-x); }

}  // namespace anchor
