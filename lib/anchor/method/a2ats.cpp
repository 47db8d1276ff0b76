#include "anchor/method/a2ats.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/order.hpp"
#include "anchor/method/param_specs.hpp"

// A2ATS: "Retrieval-Based KV Cache Reduction via Windowed Rotary Position Embedding and Query-Aware Vector
// Quantization", arXiv 2502.12665 (junhuihe-hjh/A2ATS): every query keeps the first keys, its window, and the
// top K of the keys between them by approximate scores. Far keys are scored as if all of them stood at one
// distance, so that one codebook of unrotated keys serves every position; attention over what is kept is
// exact. A decode method: it plans single rows.
namespace anchor {
namespace {

using Kept = std::vector<std::vector<std::int32_t>>;  ///< by head and row: far keys, ascending

/// The far keys that every row of every head keeps by its own scores.
Kept far_keys(const AttentionInputs& inputs, const PlanRequest& request, const RetrievalRule& rule) {
  const Geometry& g = inputs.geometry;
  std::vector<FarScores> scores;
  scores.reserve(static_cast<std::size_t>(g.kv_heads));
  for (int kv = 0; kv < g.kv_heads; ++kv) scores.emplace_back(inputs, kv, rule);
  Kept kept(static_cast<std::size_t>(g.q_heads * g.q_len));
  const std::int64_t tiles = (g.q_len + far_rows_at_once - 1) / far_rows_at_once;
  parallel_for(g.q_heads * tiles, [&](std::int64_t task) {
    const int head = static_cast<int>(task / tiles);
    const std::int64_t first = task % tiles * far_rows_at_once;
    const std::int64_t rows = std::min(far_rows_at_once, g.q_len - first);
    const std::int64_t ld = std::max<std::int64_t>(0, rule.end_far(g.q_start + first + rows - 1));
    if (ld <= rule.first_far()) return;
    AlignedVector<float> score(static_cast<std::size_t>(rows * ld));
    scores[static_cast<std::size_t>(g.kv_head(head))].rows(head, first, rows, score.data(), ld);
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t position = g.q_start + first + r;
      const std::int64_t far = rule.end_far(position) - rule.first_far();
      if (far <= 0) continue;
      std::vector<std::int32_t> best =
          top({score.data() + r * ld + rule.first_far(), static_cast<std::size_t>(far)},
              far_count(rule, request.knob("topk", head), position));
      for (std::int32_t& key : best) key += static_cast<std::int32_t>(rule.first_far());
      kept[static_cast<std::size_t>(head * g.q_len + first + r)] = std::move(best);
    }
  });
  return kept;
}

/// Gives all heads of a KV head what any of them keeps.
void share_in_groups(const Geometry& g, Kept& kept) {
  const int group = g.q_heads / g.kv_heads;
  parallel_for(g.kv_heads * g.q_len, [&](std::int64_t task) {
    const std::int64_t first = task / g.q_len * group, row = task % g.q_len;
    std::vector<std::int32_t> all;
    for (std::int64_t h = first; h < first + group; ++h) {
      const auto& own = kept[static_cast<std::size_t>(h * g.q_len + row)];
      all.insert(all.end(), own.begin(), own.end());
    }
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    for (std::int64_t h = first; h < first + group; ++h)
      kept[static_cast<std::size_t>(h * g.q_len + row)] = all;
  });
}

void append_keys(std::vector<std::int32_t>& items, std::int64_t begin, std::int64_t end) {
  for (std::int64_t j = begin; j < end; ++j) items.push_back(static_cast<std::int32_t>(j));
}

SparsePlan plan_retrieval(const AttentionInputs& inputs, const PlanRequest& request) {
  const Geometry& g = inputs.geometry;
  refuse_windows(g);
  const RetrievalRule rule = retrieval_rule(request.params);
  Kept kept = far_keys(inputs, request, rule);
  if (request.params.choice("share") == "group") share_in_groups(g, kept);
  SparsePlan plan{.geometry = g, .q_tile = 1, .kv_tile = 1};
  for (std::int64_t row = 0; row < std::ssize(kept); ++row) {
    const std::int64_t position = g.q_start + row % g.q_len;
    const std::int64_t sink = std::min(rule.sink, position + 1);
    append_keys(plan.columns.items, 0, sink);
    auto& far = kept[static_cast<std::size_t>(row)];
    plan.columns.items.insert(plan.columns.items.end(), far.begin(), far.end());
    append_keys(plan.columns.items, std::max(sink, rule.end_far(position)), position + 1);
    plan.columns.end_row();
    plan.blocks.end_row();
    far = {};
  }
  return plan;
}

ParamSpec buckets_param() {
  ParamSpec spec =
      real_param("buckets", 1, 1, 1024,
                 "1: all far keys are seen at distance b; r > 1: one bucket for every factor r of "
                 "distance, seen at its middle; each: every distance (slow)");
  spec.choices = {"each"};
  return spec;
}

}  // namespace

void refuse_windows(const Geometry& geometry) {
  if (geometry.windowed())
    fail("a2ats does not plan layers with a sliding window ({} keys): choose others with --layers",
         geometry.sliding_window);
}

std::int64_t far_count(const RetrievalRule& rule, double topk, std::int64_t position) {
  const std::int64_t far = std::max<std::int64_t>(0, rule.end_far(position) - rule.first_far());
  return std::min(far, static_cast<std::int64_t>(std::floor(topk * static_cast<double>(position + 1))));
}

Method a2ats_method() {
  return {
      .name = "a2ats",
      .title = "Retrieval-Based KV Cache Reduction via Windowed RoPE and Query-Aware Vector Quantization",
      .arxiv = "2502.12665",
      .knob = "topk",
      .params = {real_param("topk", 0.03, 0, 1, "far keys that a row keeps, as a share of all keys it sees"),
                 tokens_param("window", 64, 1, "nearest keys that a row keeps, itself included"),
                 tokens_param("sink", 8, 0, "initial keys that every row keeps"),
                 tokens_param("b", 2048, 0, "distance at which far keys are seen"), buckets_param(),
                 choice_param("share", {"group", "head"},
                              "group: heads of a KV head keep what any of them keeps; head: each its own"),
                 choice_param(
                     "rank", {"auto", "vq", "keys", "exact", "quest", "random"},
                     "far keys by their codes (vq), unquantised (keys), by true scores, by bounds of "
                     "pages of 16 (quest), or by chance; auto: vq with a codebook, else keys"),
                 text_param("codebook", "file from anchor-sweep codebook, for rank vq")},
      .plan_cpu = plan_retrieval,
      .rows_per_plan = 512,
      .granularity =
          [](const Params&, const Geometry&) {
            return MassGranularity{.group_rows = 0, .tile_rows = 128, .block_keys = 128};
          },
      .critical_cpu = critical_topk,
      .own_knobs = {{"share", "head"}},
      .settle =
          [](Params& params) {
            if (params.choice("rank") != "auto") return;
            params.set("rank", std::string(params.text("codebook").empty() ? "keys" : "vq"));
          },
      .measure = ranking_quality};
}

}  // namespace anchor
