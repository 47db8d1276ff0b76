#include "anchor/method/flexprefill.hpp"

#include <cmath>
#include <limits>

#include "anchor/base/block_means.hpp"
#include "anchor/base/dtype.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/divergence.hpp"
#include "anchor/method/method.hpp"
#include "anchor/method/order.hpp"
#include "anchor/method/param_specs.hpp"

// "FlexPrefill: A Context-Aware Sparse Attention Mechanism for Efficient Long-Sequence Inference", arXiv
// 2502.20766 (ByteDance-Seed/FlexPrefill).
namespace anchor {
namespace {

void round_all(AlignedVector<float>& values) {
  for (float& x : values) x = round_bf16(x);
}

/// Softmax of scores in place, float64 sum.
void softmax(float* score, std::int64_t count) {
  const float max = *std::max_element(score, score + count);
  double sum = 0;
  for (std::int64_t n = 0; n < count; ++n) sum += static_cast<double>(score[n] = std::exp(score[n] - max));
  for (std::int64_t n = 0; n < count; ++n) score[n] = static_cast<float>(static_cast<double>(score[n]) / sum);
}

/// 1 + the number of prefixes of x, sorted descending, whose sum is at most gamma.
std::int64_t cover(const std::vector<float>& x, double gamma) {
  std::vector<float> sorted(x);
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  double sum = 0;
  std::int64_t count = 1;
  for (const float value : sorted) {
    sum += static_cast<double>(value);
    count += sum <= gamma;
  }
  return count;
}

/// How the mean of the probe's queries would spread over the means of all blocks of keys, causal or not; 0
/// for those that the window hides from the probe.
std::vector<float> pooled_guess(const AttentionInputs& head, const BlockShape& shape, bool official) {
  const Geometry& g = head.geometry;
  const std::int64_t rows = std::min<std::int64_t>(shape.q_tile, g.q_len), dim = g.head_dim;
  AlignedVector<float> scaled(head.q_row(0, g.q_len - rows), head.q_row(0, g.q_len - rows) + rows * dim);
  for (float& x : scaled) x *= static_cast<float>(g.softmax_scale);
  if (official) round_all(scaled);
  AlignedVector<float> q = block_means(scaled.data(), rows, dim, rows);
  AlignedVector<float> k = block_means(head.k, g.kv_len, dim, shape.kv_tile);
  if (official) round_all(q), round_all(k);
  AlignedVector<float> score(static_cast<std::size_t>(shape.blocks()), 0.f);
  const std::int64_t first = ProbeSpan(shape).column, blocks = shape.blocks() - first;
  float* seen = score.data() + first;
  matrix_ops().gemm_nt(1, blocks, dim, 1, q.data(), dim, k.data() + first * dim, dim, seen, blocks);
  if (official) round_all(score);
  softmax(seen, blocks);
  return {score.begin(), score.end()};
}

SparsePlan plan_flex(const AttentionInputs& inputs, const PlanRequest& request) {
  const Geometry& g = inputs.geometry;
  const Params& params = request.params;
  require_square("flexprefill", g);
  const FlexRule rule = flex_rule(params, g.kv_len);
  const std::int64_t b = rule.block;
  const BlockShape shape = block_shape(g, static_cast<int>(b), static_cast<int>(b));
  return plan_blocks(g, shape, [&](int h) {
    if (g.kv_len <= std::max(2 * b, rule.least_blocks * b)) return all_blocks(shape);
    const AttentionInputs head = inputs.head(h);
    FlexRule own = rule;
    own.gamma = request.knob("gamma", h);
    const FlexHead probed = flex_probe(head, shape, own);
    if (!probed.query_aware) {
      return vertical_slash_blocks(shape, probed.columns, probed.diagonals, probed.vertical, probed.slash);
    }
    return unite(
        vertical_slash_blocks(shape, probed.columns, probed.diagonals, own.least_blocks, own.least_blocks),
        query_aware_blocks(head, shape, own));
  });
}

}  // namespace

FlexRule flex_rule(const Params& params, std::int64_t kv_len) {
  const std::int64_t b = params.integer("block"), blocks = (kv_len + b - 1) / b;
  FlexRule rule{.block = b, .tau = params.real("tau"), .official = official_rounding(params)};
  if (!rule.official) rule.divisor = b;
  rule.least_blocks = std::max<std::int64_t>(1, (params.integer("min_budget") + b - 1) / b);
  const std::int64_t most = (params.integer("max_budget") + b - 1) / b;
  if (most > 0 && most < rule.least_blocks) {
    fail_usage("flexprefill.max_budget = {}: must be 0 (none) or at least min_budget = {}",
               params.integer("max_budget"), params.integer("min_budget"));
  }
  rule.most_blocks = most == 0 ? blocks : std::min(most, blocks);
  return rule;
}

ProbeSpan::ProbeSpan(const BlockShape& shape) {
  if (shape.window == 0) return;
  const std::int64_t rows = std::min<std::int64_t>(shape.q_tile, shape.length);
  column = std::max<std::int64_t>(0, shape.length - rows + 1 - shape.window) / shape.kv_tile;
  diagonal = std::max<std::int64_t>(0, shape.length - shape.window) / shape.kv_tile;
}

FlexHead flex_probe(const AttentionInputs& head, const BlockShape& shape, const FlexRule& rule) {
  const Profile profile = probe(head, std::min(rule.block, head.geometry.kv_len),
                                rule.official ? ProbeRounding::queries : ProbeRounding::none);
  FlexHead found{block_sums(profile.columns, rule.block), block_sums(profile.diagonals, rule.block)};
  const auto budget = [&](const std::vector<float>& x) {
    return std::clamp(cover(x, rule.gamma) / rule.divisor + 1, rule.least_blocks, rule.most_blocks);
  };
  found.vertical = budget(profile.columns);
  found.slash = budget(profile.diagonals);
  const auto first = static_cast<std::size_t>(ProbeSpan(shape).column);
  const std::vector<float> guess = pooled_guess(head, shape, rule.official);
  found.query_aware =
      js_distance(std::span(guess).subspan(first), std::span(found.columns).subspan(first)) < rule.tau;
  return found;
}

BlockRows query_aware_blocks(const AttentionInputs& head, const BlockShape& shape, const FlexRule& rule) {
  const Geometry& g = head.geometry;
  const std::int64_t blocks = shape.blocks(), dim = g.head_dim;
  AlignedVector<float> q = block_means(head.q, g.q_len, dim, shape.q_tile);
  AlignedVector<float> k = block_means(head.k, g.kv_len, dim, shape.kv_tile);
  if (rule.official) round_all(q), round_all(k);
  // The causal entries of all rows, row after row: row r starts at r (r + 1) / 2. What a window hides is 0.
  AlignedVector<float> share(static_cast<std::size_t>(blocks * (blocks + 1) / 2), 0.f);
  parallel_for(blocks, [&](std::int64_t r) {
    const std::int64_t first = shape.first_block(r), seen = r + 1 - first;
    AlignedVector<float> score(static_cast<std::size_t>(seen));
    matrix_ops().gemm_nt(1, seen, dim, static_cast<float>(g.softmax_scale), q.data() + r * dim, dim,
                         k.data() + first * dim, dim, score.data(), seen);
    softmax(score.data(), seen);
    std::copy(score.begin(), score.end(), share.data() + r * (r + 1) / 2 + first);
  });
  std::vector<bool> on(share.size(), false);
  double sum = 0;
  for (const std::int32_t n : by_score(share)) {
    sum += static_cast<double>(share[static_cast<std::size_t>(n)]);
    if (sum > rule.gamma * static_cast<double>(blocks)) break;
    on[static_cast<std::size_t>(n)] = true;
  }
  BlockRows rows(static_cast<std::size_t>(blocks));
  std::size_t at = 0;
  for (std::int64_t r = 0; r < blocks; ++r) {
    for (std::int32_t c = 0; c <= r; ++c) {
      if (on[at++] && c >= shape.first_block(r)) rows[static_cast<std::size_t>(r)].push_back(c);
    }
  }
  return rows;
}

BlockRows unite(const BlockRows& a, const BlockRows& b) {
  BlockRows both(a.size());
  for (std::size_t r = 0; r < a.size(); ++r)
    std::set_union(a[r].begin(), a[r].end(), b[r].begin(), b[r].end(), std::back_inserter(both[r]));
  return both;
}

Method flexprefill_method() {
  return {
      .name = "flexprefill",
      .title =
          "FlexPrefill: A Context-Aware Sparse Attention Mechanism for Efficient Long-Sequence Inference",
      .arxiv = "2502.20766",
      .knob = "gamma",
      .params = {real_param("gamma", 0.95, 0, 2, "share of attention that the budgets aim at; above 1: all"),
                 real_param("tau", 0.1, 0, 1,
                            "heads whose pooled scores are this close to the probe are query-aware"),
                 tokens_param("min_budget", 1024, 0, "least tokens of columns, and of distances"),
                 tokens_param("max_budget", 0, 0, "most tokens of either; 0 = no limit"),
                 block_param("block", 128, "tile, block, and rows of the probe"),
                 rounding_param("bfloat16, and counts divided by 128 whatever the block")},
      .plan_cpu = plan_flex};
}

}  // namespace anchor
