#pragma once

#include <algorithm>
#include <cmath>

#include "support/random.hpp"

namespace anchor::test {

/// Structured heads that tests/golden/planner_rules.py makes alike, number by number: noise, topics that
/// change every 96 tokens, a diagonal wave and sink keys. All values are small multiples of 1/32, so scores
/// are exact in float and bfloat16 stores them unchanged.
inline RandomInputs golden_inputs(std::int64_t length, int dim, int q_heads, int kv_heads, unsigned seed) {
  const auto noise = [](std::uint32_t x) {
    x ^= x >> 16, x *= 0x7feb352dU, x ^= x >> 15, x *= 0x846ca68bU, x ^= x >> 16;
    const auto sum = static_cast<int>((x & 255) + (x >> 8 & 255) + (x >> 16 & 255) + (x >> 24));
    return (sum - 510) / 8;  // towards zero
  };
  const auto fill = [&](std::vector<float>& x, int heads, std::uint32_t salt, float scale) {
    for (int h = 0; h < heads; ++h) {
      for (std::int64_t i = 0; i < length; ++i) {
        for (int c = 0; c < dim; ++c) {
          const auto row = static_cast<std::uint32_t>(h * 65536 + i);
          int value =
              noise((row * 256 + static_cast<std::uint32_t>(c)) ^ (seed * 40503 + salt) * 2654435761U);
          const double angle = 6.283185307179586 * static_cast<double>(i) / (29 + 8 * (h % 3));
          if (c == 0) value += static_cast<int>(std::floor(48 * std::cos(angle) + 0.5));
          if (c == 1) value += static_cast<int>(std::floor(48 * std::sin(angle) + 0.5));
          if (c >= 2 && c < 6) value += 2 * noise(static_cast<std::uint32_t>(i / 96 * 8 + c) * 77 + seed) / 3;
          if (c == 6) value += salt == 1 ? 40 : (i < 3 ? 90 : 0);
          x.push_back(scale * static_cast<float>(std::clamp(value, -127, 127)) / 32);
        }
      }
    }
  };
  RandomInputs inputs{square(length, dim, q_heads, kv_heads), {}, {}, {}};
  inputs.geometry.softmax_scale = 1 / std::sqrt(static_cast<double>(dim));
  fill(inputs.q, q_heads, 1, 2);
  fill(inputs.k, kv_heads, 2, 1);
  fill(inputs.v, kv_heads, 3, 1);
  return inputs;
}

}  // namespace anchor::test
