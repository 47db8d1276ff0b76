#include "anchor/base/block_means.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/block_plan.hpp"
#include "anchor/method/method.hpp"
#include "anchor/method/order.hpp"
#include "anchor/method/param_specs.hpp"

// The block-sparse head of "MInference 1.0", arXiv 2407.02490 (microsoft/MInference): every tile keeps the
// blocks whose mean key scores best against its mean query. Nothing is forced, not even the diagonal.
namespace anchor {
namespace {

BlockShape shape_of(const Geometry& geometry, const Params& params) {
  const auto block = static_cast<int>(params.integer("block"));
  return block_shape(geometry, block, block);
}

/// A block's critical value is its place in the tile's order: rank + 1 <= topk.
BlockKnobs ranks(const AttentionInputs& head, const Params& params) {
  const Geometry& g = head.geometry;
  BlockKnobs knobs(shape_of(g, params), false);
  const BlockShape& shape = knobs.shape;
  const bool padded = official_rounding(params);
  const auto q = block_means(head.q, g.q_len, g.head_dim, shape.q_tile, padded);
  const auto k = block_means(head.k, g.kv_len, g.head_dim, shape.kv_tile, padded);
  parallel_for(shape.tiles(), [&](std::int64_t tile) {
    const std::int64_t first = shape.first_block(tile), count = shape.causal_blocks(tile) - first;
    AlignedVector<float> score(static_cast<std::size_t>(count));
    matrix_ops().gemm_nt(1, count, g.head_dim, 1, q.data() + tile * g.head_dim, g.head_dim,
                         k.data() + first * g.head_dim, g.head_dim, score.data(), count);
    float rank = 0;
    for (const std::int32_t block : by_score(score)) knobs.row(tile)[first + block] = ++rank;
  });
  return knobs;
}

}  // namespace

Method block_sparse_method() {
  return {
      .name = "block-sparse",
      .title = "MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic Sparse Attention",
      .arxiv = "2407.02490",
      .knob = "topk",
      .params = {integer_param("topk", 100, 1, 1 << 20, "blocks per tile"),
                 block_param("block", 64, "query rows per tile and keys per block"),
                 rounding_param("the last block's means count its padding as zeros")},
      .plan_cpu =
          [](const AttentionInputs& inputs, const PlanRequest& request) {
            require_square("block-sparse", inputs.geometry);
            return plan_blocks(inputs.geometry, shape_of(inputs.geometry, request.params), [&](int head) {
              return kept_blocks(ranks(inputs.head(head), request.params), request.knob("topk", head));
            });
          },
      .granularity = [](const Params& params,
                        const Geometry& g) { return shape_of(g, params).granularity(); },
      .critical_cpu =
          [](const AttentionInputs& inputs, int head, const Params& params, const MassMap& mass) {
            require_square("block-sparse", inputs.geometry);
            return critical_blocks(ranks(inputs.head(head), params), mass);
          }};
}

}  // namespace anchor
