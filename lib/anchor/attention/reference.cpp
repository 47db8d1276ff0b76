#include "anchor/attention/reference.hpp"

#include <cmath>
#include <limits>

#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

/// How often the plan row counts each key in `out`: 0 = not listed, 1 = visible, 2 = doubled. Not yet causal.
std::vector<std::int8_t> row_weights(const SparsePlan& plan, std::int64_t row) {
  std::vector<std::int8_t> weights(static_cast<std::size_t>(plan.geometry.kv_len), 0);
  for (const std::int32_t start : plan.blocks[row]) {
    for (std::int64_t j = start; j < start + plan.block_width(start); ++j)
      weights[static_cast<std::size_t>(j)] = 1;
  }
  for (const std::int32_t j : plan.columns[row]) weights[static_cast<std::size_t>(j)] = 1;
  if (plan.dup.rows() > 0) {
    for (const std::int32_t j : plan.dup[row]) weights[static_cast<std::size_t>(j)] = 2;
  }
  return weights;
}

}  // namespace

AttentionResult reference_attention(const AttentionInputs& inputs, const SparsePlan& plan) {
  const Geometry& g = plan.geometry;
  const std::int64_t dim = g.head_dim;
  AttentionResult result{std::vector<float>(static_cast<std::size_t>(g.q_heads * g.q_len * dim)),
                         std::vector<double>(static_cast<std::size_t>(g.q_heads * g.q_len))};
  parallel_for(plan.rows(), [&](std::int64_t row) {
    const auto weights = row_weights(plan, row);
    const int head = static_cast<int>(row / plan.groups());
    const std::int64_t begin = row % plan.groups() * plan.group_rows();
    const float* keys = inputs.keys(head);
    const float* values = inputs.values(head);
    std::vector<double> score(weights.size());
    std::vector<double> sum_v(static_cast<std::size_t>(dim));
    for (std::int64_t i = begin; i < std::min(begin + plan.group_rows(), g.q_len); ++i) {
      const float* q = inputs.q_row(head, i);
      double max = -std::numeric_limits<double>::infinity();
      for (std::int64_t j = 0; j < g.kv_len; ++j) {
        auto& s = score[static_cast<std::size_t>(j)];
        s = -std::numeric_limits<double>::infinity();
        if (weights[static_cast<std::size_t>(j)] == 0 || !plan.allows(head, g.q_start + i, j)) continue;
        double dot = 0;
        for (std::int64_t c = 0; c < dim; ++c)
          dot += static_cast<double>(q[c]) * static_cast<double>(keys[j * dim + c]);
        s = dot * g.softmax_scale;
        max = std::max(max, s);
      }
      double sum = 0, sum_out = 0;  // of the set, and with doubled keys
      sum_v.assign(sum_v.size(), 0);
      for (std::int64_t j = 0; j < g.kv_len; ++j) {
        const double s = score[static_cast<std::size_t>(j)];
        if (s == -std::numeric_limits<double>::infinity()) continue;
        const double p = std::exp(s - max);
        const double weight = p * weights[static_cast<std::size_t>(j)];
        sum += p;
        sum_out += weight;
        for (std::int64_t c = 0; c < dim; ++c)
          sum_v[static_cast<std::size_t>(c)] += weight * static_cast<double>(values[j * dim + c]);
      }
      result.lse[static_cast<std::size_t>(head * g.q_len + i)] = max + std::log(sum);
      float* out = result.out.data() + (head * g.q_len + i) * dim;
      for (std::int64_t c = 0; c < dim; ++c)
        out[c] = sum_out > 0 ? static_cast<float>(sum_v[static_cast<std::size_t>(c)] / sum_out) : 0.f;
    }
  });
  return result;
}

AttentionResult reference_attention(const AttentionInputs& inputs) {
  return reference_attention(inputs, dense_plan(inputs.geometry));
}

}  // namespace anchor
