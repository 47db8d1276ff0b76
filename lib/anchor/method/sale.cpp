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

// "SALE: Low-bit Estimation for Efficient Sparse Attention in Long-context LLM Prefilling", arXiv 2505.24179:
// the frozen reference ("two-pass") with the released code's int4 codes.
namespace anchor {
namespace {

constexpr int q_tile = 64, kv_tile = 32;
constexpr std::int64_t segment = 4;          // blocks
constexpr std::int64_t dense_length = 1024;  // so many tokens or fewer are dense
constexpr double least_threshold = 1e-5;     // and so are thresholds below this
constexpr float infinity = std::numeric_limits<float>::infinity();

/// Rows of x [rows, dim] as codes in [-7, 7] (floats that hold integers) with a scale each.
struct Int4 {
  AlignedVector<float> code;
  std::vector<float> scale;  ///< per row
};

/// Rows with equal group(row) share the scale absmax / 7.
template <class GroupOf>
Int4 quantise(const AlignedVector<float>& x, std::int64_t dim, bool official, GroupOf group) {
  const std::int64_t rows = std::ssize(x) / dim;
  std::vector<float> absmax;
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto n = static_cast<std::size_t>(group(r));
    if (n >= absmax.size()) absmax.resize(n + 1, 0);
    for (std::int64_t c = 0; c < dim; ++c)
      absmax[n] = std::max(absmax[n], std::abs(x[static_cast<std::size_t>(r * dim + c)]));
  }
  Int4 made{AlignedVector<float>(x.size()), {}};
  for (std::int64_t r = 0; r < rows; ++r) {
    const float scale = absmax[static_cast<std::size_t>(group(r))] / 7;
    made.scale.push_back(official ? round_f16(scale) : scale);
    for (std::int64_t c = 0; c < dim; ++c) {
      const auto at = static_cast<std::size_t>(r * dim + c);
      made.code[at] = scale > 0 ? std::nearbyint(x[at] / scale) : 0.f;
    }
  }
  return made;
}

/// A head as SALE sees it: queries and keys without their means, exact and as codes.
struct Smoothed {
  Smoothed(const AttentionInputs& head, const Params& params)
      : geometry(head.geometry), q(head.q, head.q + head.geometry.q_len * head.geometry.head_dim) {
    const std::int64_t dim = geometry.head_dim, n = geometry.kv_len;
    const auto mean_k = block_means(head.k, n, dim, n);
    const auto mean_q = block_means(head.q, n, dim, n);
    k.assign(head.k, head.k + n * dim);
    AlignedVector<float> centred = q;
    for (std::size_t at = 0; at < k.size(); ++at) {
      k[at] -= mean_k[at % mean_k.size()];
      centred[at] -= mean_q[at % mean_q.size()];
    }
    c.resize(static_cast<std::size_t>(n));
    matrix_ops().gemm_nt(1, n, dim, 1, mean_q.data(), dim, k.data(), dim, c.data(), n);
    official = official_rounding(params);
    if (params.integer("quant") == 3) {  // scales as a tensor-core thread holds them
      q4 = quantise(centred, dim, official, [](std::int64_t r) { return r / 16 * 8 + r % 8; });
      k4 = quantise(k, dim, official, [](std::int64_t r) { return r / kv_tile * 4 + r % 8 / 2; });
    } else {
      q4 = quantise(centred, dim, official, [](std::int64_t r) { return r; });
      k4 = quantise(k, dim, official, [](std::int64_t r) { return r; });
    }
  }

  Geometry geometry;
  AlignedVector<float> q, k;  ///< q as stored; k without its mean
  Int4 q4, k4;                ///< of q without its mean, and of k
  AlignedVector<float> c;     ///< mean(q) . k_j
  bool official = false;
};

/// Blocks of one tile: the sink is block 0, the local part the last ones, and whole segments compete between.
struct Parts {
  Parts(const BlockShape& shape, std::int64_t tile, std::int64_t window)
      : blocks(std::min(shape.blocks(), (tile + 1) * (q_tile / kv_tile))) {
    std::int64_t local = (window + kv_tile - 1) / kv_tile;
    while (local % segment != (blocks - 1) % segment) ++local;
    open_end = std::max<std::int64_t>(1, blocks - local);
  }
  /// Blocks [open_begin, open_end) compete.
  std::int64_t open_begin(const BlockShape& shape, std::int64_t tile) const {
    return std::max<std::int64_t>(1, shape.first_block(tile));
  }
  std::int64_t blocks;  ///< blocks up to the last that the tile sees
  std::int64_t open_end;
};

/// Largest score (unscaled) and partition function of every row of a tile over its sink and local part,
/// within the layer's window.
struct Reference {
  std::vector<float> max;
  std::vector<double> sum;
};

Reference reference(const Smoothed& head, const BlockShape& shape, std::int64_t tile, const Parts& parts) {
  const std::int64_t begin = shape.row_begin(tile), rows = shape.rows(tile), dim = head.geometry.head_dim;
  std::vector<std::vector<float>> scores(static_cast<std::size_t>(rows));
  const auto add = [&](std::int64_t first, std::int64_t last) {
    const std::int64_t keys = last - first;
    AlignedVector<float> s(static_cast<std::size_t>(rows * keys));
    matrix_ops().gemm_nt(rows, keys, dim, 1, head.q.data() + begin * dim, dim, head.k.data() + first * dim,
                         dim, s.data(), keys);
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t seen = std::clamp<std::int64_t>(begin + r + 1 - first, 0, keys);
      const std::int64_t hidden =
          std::clamp<std::int64_t>(head.geometry.first_visible(begin + r) - first, 0, seen);
      auto& row = scores[static_cast<std::size_t>(r)];
      row.insert(row.end(), s.begin() + r * keys + hidden, s.begin() + r * keys + seen);
    }
  };
  add(0, std::min<std::int64_t>(kv_tile, shape.row_end(tile)));
  add(parts.open_end * kv_tile, shape.row_end(tile));
  Reference found;
  for (const auto& row : scores) {
    // A row that sees nothing of them finds every key that it does see large enough.
    const float max = row.empty() ? -infinity : *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const float s : row)
      sum += std::exp(head.geometry.softmax_scale * (static_cast<double>(s) - static_cast<double>(max)));
    found.max.push_back(max);
    found.sum.push_back(sum);
  }
  return found;
}

/// Largest estimated score (unscaled) of every row of a tile over each block [1, open_end), of the keys in
/// its window: [rows, open_end].
std::vector<float> estimates(const Smoothed& head, const BlockShape& shape, std::int64_t tile,
                             const Parts& parts) {
  const std::int64_t begin = shape.row_begin(tile), rows = shape.rows(tile), dim = head.geometry.head_dim;
  std::vector<float> best(static_cast<std::size_t>(rows * parts.open_end), -infinity);
  AlignedVector<float> dots(static_cast<std::size_t>(rows * kv_tile));
  for (std::int64_t block = parts.open_begin(shape, tile); block < parts.open_end; ++block) {
    matrix_ops().gemm_nt(rows, kv_tile, dim, 1, head.q4.code.data() + begin * dim, dim,
                         head.k4.code.data() + block * kv_tile * dim, dim, dots.data(), kv_tile);
    for (std::int64_t r = 0; r < rows; ++r) {
      const float sq = head.q4.scale[static_cast<std::size_t>(begin + r)];
      float& row_best = best[static_cast<std::size_t>(r * parts.open_end + block)];
      for (std::int64_t n = 0; n < kv_tile; ++n) {
        const auto j = static_cast<std::size_t>(block * kv_tile + n);
        if (block * kv_tile + n < head.geometry.first_visible(begin + r)) continue;
        const float sk = head.k4.scale[j], c = head.c[j];
        float estimate = c;  // all that is left where a scale is 0
        if (sq > 0 && sk > 0) {
          const float dot = dots[static_cast<std::size_t>(r * kv_tile + n)];
          const float shift = head.official ? round_f16(c / sk) / sq : c / (sk * sq);
          const float whole = dot + std::nearbyint(shift);
          estimate = sq * sk * (head.official ? round_f16(whole) : whole);
        }
        row_best = std::max(row_best, estimate);
      }
    }
  }
  return best;
}

/// rounding=exact: a block's critical value is its largest estimated weight relative to the partition
/// function over sink and local part; kept iff it exceeds theta_h.
BlockKnobs critical_theta(const Smoothed& head, const Params& params) {
  BlockKnobs knobs(block_shape(head.geometry, q_tile, kv_tile), true);
  const BlockShape& shape = knobs.shape;
  const double sigma = head.geometry.softmax_scale;
  parallel_for(shape.tiles(), [&](std::int64_t task) {
    const std::int64_t tile = shape.tiles() - 1 - task;
    const Parts parts(shape, tile, params.integer("window"));
    float* row = knobs.row(tile);
    std::fill(row, row + parts.blocks, knobs.always());
    if (shape.length <= dense_length || parts.open_end <= 1) return;
    const Reference ref = reference(head, shape, tile, parts);
    const auto best = estimates(head, shape, tile, parts);
    for (std::int64_t block = parts.open_begin(shape, tile); block < parts.open_end; ++block) {
      double largest = 0;
      for (std::int64_t r = 0; r < shape.rows(tile); ++r) {
        const auto n = static_cast<std::size_t>(r);
        const double difference =
            static_cast<double>(best[static_cast<std::size_t>(r * parts.open_end + block)]) -
            static_cast<double>(ref.max[n]);
        largest = std::max(largest, std::exp(sigma * difference) / ref.sum[n]);
      }
      row[block] = below(std::max(largest, least_threshold));
    }
  });
  return knobs;
}

/// rounding=official: each row's threshold on the unscaled estimate is rounded to half precision.
BlockRows official_blocks(const Smoothed& head, const Params& params, double theta) {
  const BlockShape shape = block_shape(head.geometry, q_tile, kv_tile);
  if (shape.length <= dense_length || theta < least_threshold) return all_blocks(shape);
  BlockRows rows(static_cast<std::size_t>(shape.tiles()));
  parallel_for(shape.tiles(), [&](std::int64_t tile) {
    const Parts parts(shape, tile, params.integer("window"));
    const Reference ref = reference(head, shape, tile, parts);
    const auto best = estimates(head, shape, tile, parts);
    std::vector<float> least;
    for (std::size_t r = 0; r < ref.max.size(); ++r) {
      least.push_back(round_f16(static_cast<float>(
          static_cast<double>(ref.max[r]) + std::log(ref.sum[r] * theta) / head.geometry.softmax_scale)));
    }
    for (auto block = static_cast<std::int32_t>(shape.first_block(tile)); block < parts.blocks; ++block) {
      bool on = block == 0 || block >= parts.open_end;
      for (std::size_t r = 0; !on && r < least.size(); ++r)
        on = best[r * static_cast<std::size_t>(parts.open_end) + static_cast<std::size_t>(block)] > least[r];
      if (on) rows[static_cast<std::size_t>(tile)].push_back(block);
    }
  });
  return rows;
}

SparsePlan plan_sale(const AttentionInputs& inputs, const PlanRequest& request) {
  const Params& params = request.params;
  require_square("sale", inputs.geometry);
  return plan_blocks(inputs.geometry, block_shape(inputs.geometry, q_tile, kv_tile), [&](int head) {
    const Smoothed smoothed(inputs.head(head), params);
    const double theta = request.knob("theta_h", head);
    return smoothed.official ? official_blocks(smoothed, params, theta)
                             : kept_blocks(critical_theta(smoothed, params), theta);
  });
}

}  // namespace

Method sale_method() {
  return {.name = "sale",
          .title = "SALE: Low-bit Estimation for Efficient Sparse Attention in Long-context LLM Prefilling",
          .arxiv = "2505.24179",
          .knob = "theta_h",
          .params = {real_param("theta_h", 0.008, 0, std::numeric_limits<double>::infinity(),
                                "least estimated weight of a key relative to sink and local keys; 0: dense"),
                     tokens_param("window", 128, 1, "nearest keys in the reference, rounded up to segments"),
                     integer_param("quant", 3, 2, 3, "int4 scales: 3 per thread group, 2 per token"),
                     rounding_param("scales, sums and thresholds in half precision")},
          .knob_descends = true,
          .calibration_floor = 1e-4,
          .plan_cpu = plan_sale,
          .granularity =
              [](const Params& params, const Geometry& g) {
                if (official_rounding(params)) fail_usage("sale: exact curves need rounding=exact");
                return block_shape(g, q_tile, kv_tile).granularity();
              },
          .critical_cpu =
              [](const AttentionInputs& inputs, int head, const Params& params, const MassMap& mass) {
                require_square("sale", inputs.geometry);
                return critical_blocks(critical_theta({inputs.head(head), params}, params), mass);
              }};
}

}  // namespace anchor
