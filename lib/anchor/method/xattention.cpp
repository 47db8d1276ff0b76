#include <cmath>

#include "anchor/base/dtype.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
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
  return {geometry.kv_len, block, block};
}

/// The tokens of x [rows, dim] as cells of `stride` consecutive tokens, [cells, stride * dim]; each cell
/// backwards if `reversed`; missing tokens are zero. A product of a reversed query cell with a key cell is
/// the sum over the antidiagonal of their scores.
AlignedVector<float> cells(const float* x, std::int64_t rows, std::int64_t dim, std::int64_t stride,
                           bool reversed) {
  AlignedVector<float> out(static_cast<std::size_t>((rows + stride - 1) / stride * stride * dim), 0.f);
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t a = i % stride, place = reversed ? stride - 1 - a : a;
    std::copy_n(x + i * dim, dim, out.data() + (i - a + place) * dim);
  }
  return out;
}

/// Softmax mass that the strided rows of a tile give to each block, [causal blocks].
std::vector<float> block_scores(const AlignedVector<float>& q, const AlignedVector<float>& k,
                                const BlockShape& shape, std::int64_t stride, std::int64_t dim, float sigma,
                                bool official, std::int64_t tile) {
  const std::int64_t per_block = shape.q_tile / stride, width = stride * dim;
  const std::int64_t count = (shape.length + stride - 1) / stride, first = tile * per_block;
  const std::int64_t rows = std::min(per_block, count - first), columns = first + rows;
  AlignedVector<float> z(static_cast<std::size_t>(rows * columns));
  const float scale = sigma / static_cast<float>(stride);
  matrix_ops().gemm_nt(rows, columns, width, official ? 1.f : scale, q.data() + first * width, width,
                       k.data(), width, z.data(), columns);
  if (official) {
    for (float& x : z) x = round_bf16(x) * scale;
  }
  std::vector<double> sums(static_cast<std::size_t>(shape.causal_blocks(tile)), 0);
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = z.data() + r * columns;
    const std::int64_t seen = first + r + 1;
    const float max = *std::max_element(row, row + seen);
    double sum = 0;
    for (std::int64_t y = 0; y < seen; ++y) sum += static_cast<double>(row[y] = std::exp(row[y] - max));
    for (std::int64_t y = 0; y < seen; ++y)
      sums[static_cast<std::size_t>(y / per_block)] += static_cast<double>(row[y]) / sum;
  }
  std::vector<float> scores(sums.begin(), sums.end());
  if (official) {
    for (float& x : scores) x = round_bf16(x);
  }
  return scores;
}

/// Blocks 0 and r are kept. The others enter in descending order while the mass taken before them is less
/// than tau of the row: a block's critical value is that mass.
BlockKnobs critical_tau(const AttentionInputs& head, const Params& params) {
  const Geometry& g = head.geometry;
  BlockKnobs knobs(shape_of(g, params), false);
  const std::int64_t stride = params.integer("stride");
  const AlignedVector<float> q = cells(head.q, g.q_len, g.head_dim, stride, true),
                             k = cells(head.k, g.kv_len, g.head_dim, stride, false);
  parallel_for(knobs.shape.tiles(), [&](std::int64_t task) {
    const std::int64_t tile = knobs.shape.tiles() - 1 - task;
    std::vector<float> score =
        block_scores(q, k, knobs.shape, stride, g.head_dim, static_cast<float>(g.softmax_scale),
                     official_rounding(params), tile);
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
                     integer_param("block", 128, 1, 1 << 20, "query rows per tile and keys per block"),
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
