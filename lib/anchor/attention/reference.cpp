#include "anchor/attention/reference.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

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

double dot(const float* a, const float* b, std::int64_t dim) {
  double sum = 0;
  for (std::int64_t c = 0; c < dim; ++c) sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
  return sum;
}

/// Takes the blocks that plan.pv_skip leaves out for the tile of rows [begin, end) from its weights.
void drop_far_blocks(const AttentionInputs& inputs, const SparsePlan& plan, int head, std::int64_t begin,
                     std::int64_t end, std::vector<std::int8_t>& weights) {
  const Geometry& g = plan.geometry;
  std::vector<double> running(static_cast<std::size_t>(end - begin), -infinity);
  for (const std::int32_t start : plan.blocks[plan.row_of(head, begin)]) {
    bool far = true;
    std::vector<double> raised = running;
    for (std::int64_t i = begin; i < end; ++i) {
      const auto r = static_cast<std::size_t>(i - begin);
      double top = -infinity;
      const std::int64_t stop = std::min(start + plan.block_width(start), g.visible(i));
      for (std::int64_t j = std::max<std::int64_t>(start, g.first_visible(i)); j < stop; ++j)
        top = std::max(top, dot(inputs.q_row(head, i), inputs.keys(head) + j * g.head_dim, g.head_dim));
      top *= g.softmax_scale;
      if (top > -infinity) far = far && (top - running[r]) / std::numbers::ln2 <= -*plan.pv_skip;
      raised[r] = std::max(running[r], top);
    }
    running = raised;
    if (far) std::fill_n(weights.begin() + start, plan.block_width(start), std::int8_t{0});
  }
}

/// Means of `count` rows of dim floats.
std::vector<float> mean_row(const float* rows, std::int64_t count, std::int64_t dim) {
  std::vector<float> mean;
  for (std::int64_t c = 0; c < dim; ++c) {
    double sum = 0;
    for (std::int64_t n = 0; n < count; ++n) sum += static_cast<double>(rows[n * dim + c]);
    mean.push_back(static_cast<float>(sum / static_cast<double>(count)));
  }
  return mean;
}

/// A key as one query sees it: its score (plus ln of how many keys it stands for), its value, and its weight
/// in the set's lse and in out.
struct Term {
  double score;
  const float* value;
  double in_lse, in_out;
};

/// Mean keys and values of the blocks that a tile does not list whole, and how many of their keys it leaves.
struct PrunedMeans {
  std::vector<std::vector<float>> k, v;
  std::vector<double> copies;
};

PrunedMeans pruned_means(const AttentionInputs& inputs, const SparsePlan& plan, int head, std::int64_t begin,
                         std::int64_t end) {
  PrunedMeans means;
  const std::int64_t block = plan.kv_tile, dim = plan.geometry.head_dim;
  for (std::int64_t start = 0; start + block <= plan.geometry.q_start + begin; start += block) {
    if (start < plan.geometry.first_visible(end - 1)) continue;
    const std::int64_t left = plan.unlisted(plan.row_of(head, begin), start);
    if (left == 0) continue;
    means.copies.push_back(static_cast<double>(left));
    means.k.push_back(mean_row(inputs.keys(head) + start * dim, block, dim));
    means.v.push_back(mean_row(inputs.values(head) + start * dim, block, dim));
  }
  return means;
}

/// Softmax of one row's terms into the result.
void store_row(const std::vector<Term>& terms, std::int64_t at, std::int64_t dim, AttentionResult& result) {
  double max = -infinity;
  for (const Term& term : terms) max = std::max(max, term.score);
  double sum = 0, sum_out = 0;  // of the set, and of what out is made of
  std::vector<double> sum_v(static_cast<std::size_t>(dim), 0);
  for (const Term& term : terms) {
    const double p = std::exp(term.score - max);
    sum += p * term.in_lse;
    sum_out += p * term.in_out;
    for (std::int64_t c = 0; c < dim; ++c)
      sum_v[static_cast<std::size_t>(c)] += p * term.in_out * static_cast<double>(term.value[c]);
  }
  result.lse[static_cast<std::size_t>(at)] = max + std::log(sum);
  if (!result.lse_corrected.empty())
    result.lse_corrected[static_cast<std::size_t>(at)] = max + std::log(sum_out);
  for (std::int64_t c = 0; c < dim; ++c) {
    result.out[static_cast<std::size_t>(at * dim + c)] =
        sum_out > 0 ? static_cast<float>(sum_v[static_cast<std::size_t>(c)] / sum_out) : 0.f;
  }
}

void run_tile(const AttentionInputs& inputs, const SparsePlan& plan, int head, std::int64_t begin,
              std::vector<std::int8_t> weights, AttentionResult& result) {
  const Geometry& g = plan.geometry;
  const std::int64_t dim = g.head_dim, end = std::min(begin + plan.q_tile, g.q_len);
  if (plan.pv_skip) drop_far_blocks(inputs, plan, head, begin, end, weights);
  PrunedMeans means;
  if (plan.mean_correction) means = pruned_means(inputs, plan, head, begin, end);
  for (std::int64_t i = begin; i < end; ++i) {
    const float* q = inputs.q_row(head, i);
    std::vector<Term> terms;
    for (std::int64_t j = 0; j < g.kv_len; ++j) {
      const double weight = weights[static_cast<std::size_t>(j)];
      if (weight == 0 || !plan.allows(head, g.q_start + i, j)) continue;
      terms.push_back({dot(q, inputs.keys(head) + j * dim, dim) * g.softmax_scale,
                       inputs.values(head) + j * dim, 1, weight});
    }
    for (std::size_t n = 0; n < means.k.size(); ++n) {
      const double score = dot(q, means.k[n].data(), dim) * g.softmax_scale;
      terms.push_back({score + std::log(means.copies[n]), means.v[n].data(), 0, 1});
    }
    store_row(terms, head * g.q_len + i, dim, result);
  }
}

}  // namespace

AttentionResult reference_attention(const AttentionInputs& inputs, const SparsePlan& plan) {
  const Geometry& g = plan.geometry;
  AttentionResult result{std::vector<float>(static_cast<std::size_t>(g.q_heads * g.q_len * g.head_dim)),
                         std::vector<double>(static_cast<std::size_t>(g.q_heads * g.q_len))};
  if (plan.mean_correction) result.lse_corrected.resize(result.lse.size());
  parallel_for(plan.rows(), [&](std::int64_t row) {
    const auto weights = row_weights(plan, row);
    const int head = static_cast<int>(row / plan.groups());
    const std::int64_t begin = row % plan.groups() * plan.group_rows();
    for (std::int64_t tile = begin; tile < std::min(begin + plan.group_rows(), g.q_len); tile += plan.q_tile)
      run_tile(inputs, plan, head, tile, weights, result);
  });
  return result;
}

AttentionResult reference_attention(const AttentionInputs& inputs) {
  return reference_attention(inputs, dense_plan(inputs.geometry));
}

}  // namespace anchor
