#include "support/gpu/tolerance.hpp"

#include <algorithm>
#include <cmath>

#include "support/gpu/device_inputs.hpp"

namespace anchor::test {

std::vector<float> rounded_weights_attention(const AttentionInputs& inputs, const SparsePlan& plan,
                                             DType dtype) {
  const Geometry& g = plan.geometry;
  std::vector<float> out;
  for (int head = 0; head < g.q_heads; ++head) {
    for (std::int64_t i = 0; i < g.q_len; ++i) {
      const std::int64_t row = plan.row_of(head, i);
      std::vector<std::int32_t> keys, twice;
      const auto see = [&](std::int64_t j) { return j < g.kv_len && plan.allows(head, g.q_start + i, j); };
      for (const std::int32_t start : plan.blocks[row])
        for (std::int32_t j = start; j < start + plan.kv_tile; ++j)
          if (see(j)) keys.push_back(j);
      for (const std::int32_t j : plan.columns[row])
        if (see(j)) keys.push_back(j);
      if (plan.dup.rows() > 0)
        for (const std::int32_t j : plan.dup[row])
          if (see(j)) twice.push_back(j);
      keys.insert(keys.end(), twice.begin(), twice.end());
      std::vector<float> weight(keys.size()), sum_v(static_cast<std::size_t>(g.head_dim), 0);
      float max = -INFINITY, sum = 0;
      for (std::size_t n = 0; n < keys.size(); ++n) {
        weight[n] = 0;
        for (int c = 0; c < g.head_dim; ++c)
          weight[n] += inputs.q_row(head, i)[c] * inputs.keys(head)[keys[n] * g.head_dim + c];
        weight[n] *= static_cast<float>(g.softmax_scale);
        max = std::max(max, weight[n]);
      }
      for (float& w : weight) sum += w = std::exp(w - max);
      round_to(dtype, weight);
      for (std::size_t n = 0; n < keys.size(); ++n)
        for (int c = 0; c < g.head_dim; ++c)
          sum_v[static_cast<std::size_t>(c)] += weight[n] * inputs.values(head)[keys[n] * g.head_dim + c];
      for (const float x : sum_v) out.push_back(keys.empty() ? 0 : x / sum);
    }
  }
  return out;
}

Errors errors(const std::vector<float>& actual, const std::vector<float>& expected) {
  Errors e;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double d = std::abs(static_cast<double>(actual[i]) - expected[i]);
    e.worst = std::max(e.worst, std::isnan(d) ? INFINITY : d);
    e.rms += d * d;
  }
  e.rms = std::sqrt(e.rms / static_cast<double>(std::max<std::size_t>(actual.size(), 1)));
  return e;
}

}  // namespace anchor::test
