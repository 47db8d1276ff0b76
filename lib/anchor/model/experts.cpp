#include "anchor/model/experts.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace anchor {

Routing route(std::int64_t rows, int experts, int used, bool normalised, std::span<const float> logits) {
  Routing routing;
  routing.of_expert.resize(static_cast<std::size_t>(experts));
  std::vector<int> order(static_cast<std::size_t>(experts));
  std::vector<float> share(order.size());
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::span<const float> of_row =
        logits.subspan(static_cast<std::size_t>(row * experts), order.size());
    const float largest = *std::ranges::max_element(of_row);
    float sum = 0;
    for (std::size_t n = 0; n < share.size(); ++n) sum += share[n] = std::exp(of_row[n] - largest);
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + used, order.end(), [&](int a, int b) {
      const float left = share[static_cast<std::size_t>(a)], right = share[static_cast<std::size_t>(b)];
      return left > right || (left == right && a < b);
    });
    if (normalised) {
      sum = 0;
      for (int n = 0; n < used; ++n)
        sum += share[static_cast<std::size_t>(order[static_cast<std::size_t>(n)])];
    }
    for (int n = 0; n < used; ++n) {
      const auto expert = static_cast<std::size_t>(order[static_cast<std::size_t>(n)]);
      routing.of_expert[expert].push_back({row, share[expert] / sum});
    }
  }
  return routing;
}

}  // namespace anchor
