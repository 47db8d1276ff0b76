#include "anchor/method/flashprefill.hpp"

#include <cmath>
#include <limits>

#include "anchor/base/block_means.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/block_plan.hpp"
#include "anchor/method/method.hpp"
#include "anchor/method/order.hpp"
#include "anchor/method/param_specs.hpp"

// "FlashPrefill: Instantaneous Pattern Discovery and Thresholding for Ultra-Fast Long-Context Prefilling",
// arXiv 2603.06199; "FlashPrefill V2: Block-Sparse Prefill Attention for Long-Context LLM Serving", arXiv
// 2608.19758, equations 1-3, 6, 19 and 20.
namespace anchor {
namespace {

BlockShape shape_of(const Geometry& geometry, const Params& params) {
  const auto block = static_cast<int>(params.integer("block"));
  return block_shape(geometry, block / flash_packed_heads(geometry, params), block);
}

/// How much the rows of a tile, in all packed heads, give to each block before it, by mean keys: the sum of
/// exp(score - M) with one maximum M for the whole tile (score=exact), or exp of the mean query's score. The
/// first entry is that of the first block that the tile's window holds a key of; a row gives nothing to a
/// block of which its own window holds no key.
std::vector<double> block_weights(const AttentionInputs& inputs, int first_head, int heads,
                                  const AlignedVector<float>& mean_k, const BlockShape& shape,
                                  std::int64_t tile, bool exact) {
  const Geometry& g = inputs.geometry;
  const std::int64_t rows = shape.rows(tile), dim = g.head_dim, first = shape.first_block(tile);
  const std::int64_t blocks = shape.past_blocks(tile) - first;
  AlignedVector<float> q;
  for (int h = first_head; h < first_head + heads; ++h) {
    const float* begin = inputs.q_row(h, shape.row_begin(tile));
    q.insert(q.end(), begin, begin + rows * dim);
  }
  if (!exact) q = block_means(q.data(), rows * heads, dim, rows * heads);
  const std::int64_t count = exact ? rows * heads : 1;
  AlignedVector<float> score(static_cast<std::size_t>(count * blocks));
  matrix_ops().gemm_nt(count, blocks, dim, static_cast<float>(g.softmax_scale), q.data(), dim,
                       mean_k.data() + first * dim, dim, score.data(), blocks);
  for (std::int64_t n = 0; exact && g.windowed() && n < count; ++n) {
    const std::int64_t hidden = g.first_visible(shape.row_begin(tile) + n % rows) / shape.kv_tile - first;
    std::fill_n(score.data() + n * blocks, std::clamp<std::int64_t>(hidden, 0, blocks),
                -std::numeric_limits<float>::infinity());
  }
  const auto max = static_cast<double>(*std::max_element(score.begin(), score.end()));
  std::vector<double> weights(static_cast<std::size_t>(blocks), 0);
  for (std::size_t n = 0; n < score.size(); ++n)
    weights[n % weights.size()] += std::exp(static_cast<double>(score[n]) - max);
  return weights;
}

/// A block's critical value is its weight relative to the tile's heaviest block: kept iff >= alpha. The first
/// `sink` tokens and all that the last `window` tokens before the tile's first row meet are always kept.
BlockKnobs critical_alpha(const AttentionInputs& inputs, int first_head, const Params& params) {
  const Geometry& g = inputs.geometry;
  BlockKnobs knobs(shape_of(g, params), true);
  const BlockShape& shape = knobs.shape;
  const int heads = flash_packed_heads(g, params);
  const std::int64_t block = shape.kv_tile;
  const std::int64_t sink_blocks = (params.integer("sink") + block - 1) / block;
  const auto mean_k = block_means(inputs.keys(first_head), g.kv_len, g.head_dim, block);
  parallel_for(shape.tiles(), [&](std::int64_t task) {
    const std::int64_t tile = shape.tiles() - 1 - task, past = shape.past_blocks(tile);
    const std::int64_t first = shape.first_block(tile);
    float* row = knobs.row(tile);
    if (past > first) {
      const auto weights =
          block_weights(inputs, first_head, heads, mean_k, shape, tile, params.choice("score") == "exact");
      const double largest = *std::max_element(weights.begin(), weights.end());
      for (std::int64_t c = first; c < past; ++c)
        row[c] = at_most(weights[static_cast<std::size_t>(c - first)] / largest);
    }
    const std::int64_t reach =
        std::max<std::int64_t>(0, shape.row_begin(tile) - params.integer("window") + 1);
    for (std::int64_t c = 0; c < shape.causal_blocks(tile); ++c) {
      if (c < sink_blocks || c >= std::min(reach / block, past)) row[c] = knobs.always();
    }
  });
  return knobs;
}

SparsePlan plan_flashprefill(const AttentionInputs& inputs, const PlanRequest& request) {
  const Geometry& g = inputs.geometry;
  require_square("flashprefill", g);
  const int heads = flash_packed_heads(g, request.params);
  const BlockShape shape = shape_of(g, request.params);
  check_flash_knobs(request, g, heads);
  std::optional<BlockKnobs> knobs;
  SparsePlan plan = plan_blocks(g, shape, [&](int head) {
    const int first = head / heads * heads;
    if (head == first) knobs = critical_alpha(inputs, first, request.params);
    return kept_blocks(*knobs, request.knob("alpha", head));
  });
  plan.mean_correction = request.params.integer("correction") != 0;
  plan.packed_heads = heads;
  return plan;
}

}  // namespace

int flash_packed_heads(const Geometry& geometry, const Params& params) {
  const int heads = geometry.q_heads / geometry.kv_heads;
  const std::string& pack = params.choice("pack");
  const bool divides = params.integer("block") % heads == 0;
  if (pack == "group" && !divides) {
    fail_usage("flashprefill.pack = group: {} heads of a KV head do not divide block = {}", heads,
               params.integer("block"));
  }
  return pack != "head" && divides ? heads : 1;
}

void check_flash_knobs(const PlanRequest& request, const Geometry& geometry, int packed_heads) {
  for (int head = 0; head < geometry.q_heads; ++head) {
    const int first = head / packed_heads * packed_heads;
    if (request.knob("alpha", head) == request.knob("alpha", first)) continue;
    fail_usage("flashprefill: heads {} and {} share a tile and need one alpha; or set pack=head", first,
               head);
  }
}

Method flashprefill_method() {
  return {
      .name = "flashprefill",
      .title = "FlashPrefill V2: Block-Sparse Prefill Attention for Long-Context LLM Serving",
      .arxiv = "2608.19758",
      .knob = "alpha",
      .params =
          {real_param("alpha", 0.1, 0, std::numeric_limits<double>::infinity(),
                      "least weight of a block relative to its tile's heaviest; above 1: forced blocks only"),
           tokens_param("sink", 256, 0, "initial keys whose blocks every tile keeps"),
           tokens_param("window", 512, 1, "keys up to a tile's first row whose blocks it keeps"),
           block_param("block", 128, "keys per block and packed rows per tile"),
           integer_param("correction", 1, 0, 1, "1: pruned blocks contribute through their means"),
           choice_param(
               "pack", {"auto", "group", "head"},
               "rows of a tile: all heads of a KV head (V2) or one (V1); auto = group where it divides"),
           choice_param("score", {"exact", "mean"},
                        "every query row against mean keys, or the tile's mean query")},
      .knob_descends = true,
      .plan_cpu = plan_flashprefill,
      .granularity = [](const Params& params,
                        const Geometry& g) { return shape_of(g, params).granularity(); },
      .critical_cpu =
          [](const AttentionInputs& inputs, int head, const Params& params, const MassMap& mass) {
            require_square("flashprefill", inputs.geometry);
            const int heads = flash_packed_heads(inputs.geometry, params);
            return critical_blocks(critical_alpha(inputs, head / heads * heads, params), mass);
          },
      .own_knobs = std::pair{"pack", "head"}};
}

}  // namespace anchor
