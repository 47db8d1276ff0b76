#include "anchor/method/probe.hpp"

#include <cmath>
#include <limits>

#include "anchor/base/aligned.hpp"
#include "anchor/base/dtype.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/order.hpp"

namespace anchor {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t chunk_keys = 512;

/// Scores of the last `rows` rows against all keys, [rows, N], natural units, masked above the diagonal and
/// outside the layer's window.
AlignedVector<float> probe_scores(const AttentionInputs& head, std::int64_t rows, ProbeRounding rounding) {
  const Geometry& g = head.geometry;
  const std::int64_t first = g.q_len - rows, dim = g.head_dim, keys = g.kv_len;
  const auto sigma = static_cast<float>(g.softmax_scale);
  const bool scale_queries = rounding == ProbeRounding::queries;
  AlignedVector<float> q(head.q_row(0, first), head.q_row(0, first) + rows * dim);
  if (scale_queries) {
    for (float& x : q) x = round_bf16(x * sigma);
  }
  AlignedVector<float> score(static_cast<std::size_t>(rows * keys));
  parallel_for((keys + chunk_keys - 1) / chunk_keys, [&](std::int64_t task) {
    const std::int64_t key = task * chunk_keys, count = std::min(chunk_keys, keys - key);
    const float alpha = rounding == ProbeRounding::none ? sigma : 1.f;
    matrix_ops().gemm_nt(rows, count, dim, alpha, q.data(), dim, head.k + key * dim, dim, score.data() + key,
                         keys);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t j = key; j < key + count; ++j) {
        float& s = score[static_cast<std::size_t>(r * keys + j)];
        if (rounding != ProbeRounding::none) s = round_bf16(s);
        if (rounding == ProbeRounding::scores) s = round_bf16(s * sigma);
        if (j > first + r || j < g.first_visible(first + r)) s = -infinity;
      }
    }
  });
  return score;
}

}  // namespace

Profile probe(const AttentionInputs& head, std::int64_t rows, ProbeRounding rounding) {
  const std::int64_t keys = head.geometry.kv_len, first = keys - rows;
  AlignedVector<float> p = probe_scores(head, rows, rounding);
  parallel_for(rows, [&](std::int64_t r) {
    float* row = p.data() + r * keys;
    const float max = *std::max_element(row, row + keys);
    double sum = 0;
    for (std::int64_t j = 0; j < keys; ++j) sum += static_cast<double>(row[j] = std::exp(row[j] - max));
    for (std::int64_t j = 0; j < keys; ++j) row[j] = static_cast<float>(static_cast<double>(row[j]) / sum);
  });
  Profile profile{std::vector<float>(static_cast<std::size_t>(keys)),
                  std::vector<float>(static_cast<std::size_t>(keys))};
  const auto count = static_cast<double>(rows);
  parallel_for((keys + chunk_keys - 1) / chunk_keys, [&](std::int64_t task) {
    for (std::int64_t n = task * chunk_keys; n < std::min((task + 1) * chunk_keys, keys); ++n) {
      double column = 0, diagonal = 0;
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t j = first + r - (keys - 1 - n);
        column += static_cast<double>(p[static_cast<std::size_t>(r * keys + n)]);
        if (j >= 0) diagonal += static_cast<double>(p[static_cast<std::size_t>(r * keys + j)]);
      }
      profile.columns[static_cast<std::size_t>(n)] = static_cast<float>(column / count);
      profile.diagonals[static_cast<std::size_t>(n)] = static_cast<float>(diagonal / count);
    }
  });
  return profile;
}

std::vector<float> block_sums(const std::vector<float>& x, std::int64_t block) {
  std::vector<float> sums;
  for (std::size_t begin = 0; begin < x.size(); begin += static_cast<std::size_t>(block)) {
    double sum = 0;
    for (std::size_t n = begin; n < std::min(x.size(), begin + static_cast<std::size_t>(block)); ++n)
      sum += static_cast<double>(x[n]);
    sums.push_back(static_cast<float>(sum));
  }
  return sums;
}

BlockRows vertical_slash_blocks(const BlockShape& shape, std::vector<float> columns,
                                std::vector<float> diagonals, std::int64_t vertical, std::int64_t slash) {
  const auto blocks = static_cast<std::size_t>(shape.blocks());
  columns.front() = infinity;
  diagonals.back() = infinity;
  std::vector<bool> column_on(blocks, false), distance_on(blocks, false);
  for (const std::int32_t c : top(columns, vertical)) column_on[static_cast<std::size_t>(c)] = true;
  for (const std::int32_t t : top(diagonals, slash))
    distance_on[blocks - 1 - static_cast<std::size_t>(t)] = true;
  BlockRows rows(blocks);
  for (std::size_t r = 0; r < blocks; ++r) {
    for (auto c = static_cast<std::size_t>(shape.first_block(static_cast<std::int64_t>(r))); c <= r; ++c) {
      if (column_on[c] || distance_on[r - c]) rows[r].push_back(static_cast<std::int32_t>(c));
    }
  }
  return rows;
}

}  // namespace anchor
