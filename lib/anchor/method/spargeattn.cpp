#include "anchor/method/spargeattn.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/block_means.hpp"
#include "anchor/base/dtype.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/block_plan.hpp"
#include "anchor/method/method.hpp"
#include "anchor/method/order.hpp"
#include "anchor/method/param_specs.hpp"
#include "anchor/method/tail.hpp"

// "SpargeAttention: Accurate and Training-free Sparse Attention Accelerating Any Model Inference", arXiv
// 2502.18137 (thu-ml/SpargeAttn): the selection of blocks; skipping of values is an option of the plan.
namespace anchor {
namespace {

constexpr int q_tile = 128, kv_tile = 64;
constexpr std::int64_t least_length = 128;  // released code needs that many tokens; fewer are dense

/// Means of blocks, and which of them stand for their rows.
struct Blocks {
  AlignedVector<float> mean;
  std::vector<bool> similar;
};

/// A block is similar if the mean cosine of all pairs of its rows exceeds the threshold. A zero row makes
/// that 0/0, which is not similar; released code pads a short last block with such rows.
Blocks summarise(const float* x, std::int64_t rows, std::int64_t dim, std::int64_t block, double threshold,
                 bool official) {
  Blocks made{block_means(x, rows, dim, block), {}};
  if (official) {
    for (float& value : made.mean) value = round_bf16(value);
  }
  for (std::int64_t begin = 0; begin < rows; begin += block) {
    const std::int64_t count = std::min(block, rows - begin);
    std::vector<double> sum(static_cast<std::size_t>(dim), 0);
    for (std::int64_t r = begin; r < begin + count; ++r) {
      double square = 0;
      for (std::int64_t c = 0; c < dim; ++c)
        square += static_cast<double>(x[r * dim + c]) * static_cast<double>(x[r * dim + c]);
      for (std::int64_t c = 0; c < dim; ++c) {
        const auto unit = static_cast<float>(static_cast<double>(x[r * dim + c]) / std::sqrt(square));
        sum[static_cast<std::size_t>(c)] += static_cast<double>(official ? round_f16(unit) : unit);
      }
    }
    double square = 0;
    for (const double s : sum) square += s * s;
    const double similarity = square / static_cast<double>(count * count);
    made.similar.push_back(similarity > threshold && !(official && count < block));
  }
  return made;
}

/// K without its mean over the sequence, which no softmax sees.
AlignedVector<float> smoothed(const AttentionInputs& head) {
  const Geometry& g = head.geometry;
  const auto mean = block_means(head.k, g.kv_len, g.head_dim, g.kv_len);
  AlignedVector<float> k(head.k, head.k + g.kv_len * g.head_dim);
  for (std::size_t n = 0; n < k.size(); ++n) k[n] -= mean[n % mean.size()];
  return k;
}

/// Shares of a tile's pooled attention over the given blocks.
std::vector<float> pooled_attention(const float* q, const AlignedVector<float>& k,
                                    const std::vector<std::int32_t>& blocks, const Geometry& g,
                                    bool official) {
  std::vector<double> score;
  for (const std::int32_t block : blocks) {
    float s;
    matrix_ops().gemm_nt(1, 1, g.head_dim, static_cast<float>(g.softmax_scale), q, g.head_dim,
                         k.data() + block * g.head_dim, g.head_dim, &s, 1);
    score.push_back(static_cast<double>(official ? round_bf16(s) : s));
  }
  const double max = *std::max_element(score.begin(), score.end());
  double sum = 0;
  for (double& s : score) sum += s = std::exp(s - max);
  std::vector<float> shares;
  for (const double s : score) {
    const auto share = static_cast<float>(s / sum);
    shares.push_back(official ? round_bf16(share) : share);
  }
  return shares;
}

/// Critical values of a head: in mode cdf the share of the tile's pooled attention up to and with the block;
/// in mode topk its place in the order. The first of every tile is always kept, and so are blocks that are
/// not similar and all blocks of tiles that are not. (What keep_first_diagonal() adds is not among them.)
BlockKnobs critical_values(const AttentionInputs& head, const Params& params) {
  const Geometry& g = head.geometry;
  BlockKnobs knobs(block_shape(g, q_tile, kv_tile), false);
  const BlockShape& shape = knobs.shape;
  const bool official = official_rounding(params), topk = params.choice("mode") == "topk";
  if (g.kv_len < least_length) {
    std::fill(knobs.value.begin(), knobs.value.end(), knobs.always());
    return knobs;
  }
  const double threshold = sparge_similarity(params);
  AlignedVector<float> smooth;
  if (params.integer("smooth_k") != 0) smooth = smoothed(head);
  const Blocks k =
      summarise(smooth.empty() ? head.k : smooth.data(), g.kv_len, g.head_dim, kv_tile, threshold, official);
  const Blocks q = summarise(head.q, g.q_len, g.head_dim, q_tile, threshold, official);
  parallel_for(shape.tiles(), [&](std::int64_t tile) {
    float* row = knobs.row(tile);
    std::vector<std::int32_t> open;  // blocks that compete
    for (auto c = static_cast<std::int32_t>(shape.first_block(tile)); c < shape.causal_blocks(tile); ++c) {
      if (q.similar[static_cast<std::size_t>(tile)] && k.similar[static_cast<std::size_t>(c)])
        open.push_back(c);
      else
        row[c] = knobs.always();
    }
    if (open.empty()) return;
    const auto share = pooled_attention(q.mean.data() + tile * g.head_dim, k.mean, open, g, official);
    double taken = 0;
    float rank = 0;
    for (const std::int32_t n : by_score(share)) {
      taken += static_cast<double>(share[static_cast<std::size_t>(n)]);
      float& critical = row[open[static_cast<std::size_t>(n)]];
      if (++rank == 1)
        critical = knobs.always();
      else if (topk)
        critical = rank;
      else
        critical = official ? round_bf16(static_cast<float>(taken)) : at_least(std::min(taken, 1.0));
    }
  });
  return knobs;
}

/// A tile that selects its second diagonal block alone would leave its first rows without keys: then it keeps
/// the first one as well.
void keep_first_diagonal(BlockRows& rows, const BlockShape& shape) {
  for (std::int64_t tile = 0; tile < shape.tiles(); ++tile) {
    auto& row = rows[static_cast<std::size_t>(tile)];
    const auto diagonal = static_cast<std::int32_t>(shape.past_blocks(tile));
    if (row.empty() || row.front() > diagonal) row.insert(row.begin(), diagonal);
  }
}

/// The same in a curve: such a tile's first diagonal block is kept below the knob at which another block
/// before or at it is, leaves there, and comes back at its own critical value. In a tail (tail.hpp) it stays.
CriticalItems critical_items(const BlockKnobs& knobs, const MassMap& mass, std::int64_t tail) {
  CriticalItems items = critical_blocks(knobs, mass);
  const BlockShape& shape = knobs.shape;
  for (std::int64_t tile = 0; tile < shape.tiles(); ++tile) {
    const std::int64_t diagonal = shape.past_blocks(tile);
    const float* row = knobs.row(tile);
    const float first = *std::min_element(row + shape.first_block(tile), row + diagonal + 1);
    if (first == knobs.always() || (tail > 0 && shape.row_end(tile) > shape.length - tail)) continue;
    const auto pairs = static_cast<std::int32_t>(shape.pairs(tile, diagonal));
    const float held = mass.block_mass[static_cast<std::size_t>(tile * mass.blocks() + diagonal)];
    items.forced_pairs += pairs;
    items.forced_mass += static_cast<double>(held);
    items.knob.push_back(first);
    items.pairs.push_back(-pairs);
    items.mass.push_back(-held);
  }
  return items;
}

SparsePlan plan_sparge(const AttentionInputs& inputs, const PlanRequest& request) {
  const Geometry& g = inputs.geometry;
  const Params& params = request.params;
  require_square("spargeattn", g);
  const BlockShape shape = block_shape(g, q_tile, kv_tile);
  SparsePlan plan = plan_blocks(g, shape, [&](int head) {
    const std::string& mode = params.choice("mode");
    const double knob = request.knob(mode, head);
    BlockRows rows =
        kept_blocks(critical_values(inputs.head(head), params),
                    mode == "topk" ? std::floor(knob * static_cast<double>(shape.blocks())) : knob);
    keep_first_diagonal(rows, shape);
    return rows;
  });
  if (std::isfinite(params.real("pv"))) plan.pv_skip = params.real("pv");
  return plan;
}

}  // namespace

double sparge_similarity(const Params& params) {
  if (!params.is_word("sim")) return params.real("sim");
  return params.choice("mode") == "cdf" ? 0.6 : -0.1;
}

Method spargeattn_method() {
  return {.name = "spargeattn",
          .title =
              "SpargeAttention: Accurate and Training-free Sparse Attention Accelerating Any Model Inference",
          .arxiv = "2502.18137",
          .knob = "cdf",
          .params = {choice_param("mode", {"cdf", "topk"},
                                  "which of the two parameters of these names is the budget"),
                     real_param("cdf", 0.98, 0, 1, "share of a tile's pooled attention that it keeps"),
                     real_param("topk", 0.5, 0, 1, "share of all blocks that every tile keeps"),
                     real_or_auto_param(
                         "sim", -1, 2,
                         "blocks whose rows agree less are always kept; auto = 0.6 in cdf, -0.1 in topk"),
                     real_param("pv", 50, 0, std::numeric_limits<double>::infinity(),
                                "log2 distance at which a tile skips a block; inf = never"),
                     integer_param("smooth_k", 1, 0, 1, "1: without the mean key of the sequence"),
                     rounding_param("bfloat16 means, scores and sums; a short last block is never similar")},
          .plan_cpu = plan_sparge,
          .granularity =
              [](const Params& params, const Geometry& g) {
                if (params.choice("mode") != "cdf") fail_usage("spargeattn: exact curves need mode=cdf");
                return block_shape(g, q_tile, kv_tile).granularity();
              },
          .critical_cpu =
              [](const AttentionInputs& inputs, int head, const Params& params, const MassMap& mass) {
                require_square("spargeattn", inputs.geometry);
                return critical_items(critical_values(inputs.head(head), params), mass, tail_rows(params));
              }};
}

}  // namespace anchor
