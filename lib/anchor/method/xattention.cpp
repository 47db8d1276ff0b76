#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/antidiagonal.hpp"
#include "anchor/method/block_plan.hpp"
#include "anchor/method/method.hpp"
#include "anchor/method/order.hpp"
#include "anchor/method/param_specs.hpp"

// "XAttention: Block Sparse Attention with Antidiagonal Scoring", arXiv 2503.16428 (mit-han-lab/x-attention).
namespace anchor {
namespace {

BlockShape shape_of(const Geometry& geometry, const Params& params) {
  const auto block = static_cast<int>(params.integer("block"));
  if (block % params.integer("stride") != 0) {
    fail_usage("xattention: block = {} is not a multiple of stride = {}", block, params.integer("stride"));
  }
  return block_shape(geometry, block, block);
}

/// Blocks 0 and r are kept. The others enter in descending order while the mass taken before them is less
/// than tau of the row: a block's critical value is that mass.
BlockKnobs critical_tau(const AttentionInputs& head, const Params& params) {
  BlockKnobs knobs(shape_of(head.geometry, params), false);
  const Antidiagonal antidiagonal(head, params.integer("stride"), params.integer("block"),
                                  official_rounding(params));
  parallel_for(knobs.shape.tiles(), [&](std::int64_t task) {
    const std::int64_t tile = knobs.shape.tiles() - 1 - task;
    const std::vector<float> score = antidiagonal.block_mass(tile);
    double total = 0;
    for (const float x : score) total += static_cast<double>(x);
    double taken = static_cast<double>(score[0]) + (tile > 0 ? static_cast<double>(score.back()) : 0);
    knobs.row(tile)[0] = knobs.row(tile)[tile] = knobs.always();
    for (const std::int32_t block : by_score(score)) {
      if (block == 0 || block == tile) continue;
      knobs.row(tile)[block] = above(taken / total);
      taken += static_cast<double>(score[static_cast<std::size_t>(block)]);
    }
  });
  return knobs;
}

}  // namespace

Method xattention_method() {
  return {.name = "xattention",
          .title = "XAttention: Block Sparse Attention with Antidiagonal Scoring",
          .arxiv = "2503.16428",
          .knob = "tau",
          .params = {real_param("tau", 0.9, 0, 1, "share of the estimated mass that a tile keeps"),
                     integer_param("stride", 16, 1, 1 << 20, "tokens per antidiagonal; divides block"),
                     block_param("block", 128, "query rows per tile and keys per block"),
                     rounding_param("antidiagonal sums and block sums in bfloat16")},
          .plan_cpu =
              [](const AttentionInputs& inputs, const PlanRequest& request) {
                require_square("xattention", inputs.geometry);
                return plan_blocks(inputs.geometry, shape_of(inputs.geometry, request.params), [&](int head) {
                  return kept_blocks(critical_tau(inputs.head(head), request.params),
                                     request.knob("tau", head));
                });
              },
          .granularity = [](const Params& params,
                            const Geometry& g) { return shape_of(g, params).granularity(); },
          .critical_cpu =
              [](const AttentionInputs& inputs, int head, const Params& params, const MassMap& mass) {
                require_square("xattention", inputs.geometry);
                return critical_blocks(critical_tau(inputs.head(head), params), mass);
              }};
}

}  // namespace anchor
