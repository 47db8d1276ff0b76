#include "anchor/mass/peaks.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "anchor/attention/score_range.hpp"
#include "anchor/base/aligned.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

constexpr std::int64_t tile_rows = 128;
constexpr std::int64_t chunk_keys = 512;
constexpr double least = peak_weights.back();

/// The peaks of query rows [row, row + rows) of one head.
class TilePeaks {
 public:
  TilePeaks(const AttentionInputs& head, const ScoreRange& range, std::span<const double> lse,
            std::int64_t row, std::int64_t rows)
      : head_(head),
        lse_(lse),
        row_(row),
        rows_(rows),
        bases_(head, range, 0, row, rows, lse.data() + row),
        score_(static_cast<std::size_t>(tile_rows * chunk_keys)) {}

  std::vector<Peak> find() {
    const Geometry& g = head_.geometry;
    const std::int64_t reach = g.visible(row_ + rows_ - 1);
    for (std::int64_t key = g.first_visible(row_); key < reach; key += chunk_keys) {
      const std::int64_t keys = std::min(chunk_keys, reach - key);
      const float* k = head_.k + key * g.head_dim;
      matrix_ops().gemm_nt(rows_, keys, g.head_dim, static_cast<float>(g.softmax_scale), head_.q_row(0, row_),
                           g.head_dim, k, g.head_dim, score_.data(), chunk_keys);
      float no_max[tile_rows];
      std::fill(std::begin(no_max), std::end(no_max), -std::numeric_limits<float>::infinity());
      bases_.relate(0, k, keys, score_.data(), chunk_keys, no_max);
      for (std::int64_t r = 0; r < rows_; ++r)
        take(r, key, std::clamp<std::int64_t>(g.first_visible(row_ + r) - key, 0, keys),
             std::clamp<std::int64_t>(g.visible(row_ + r) - key, 0, keys));
    }
    std::ranges::sort(
        found_, [](const Peak& a, const Peak& b) { return a.row != b.row ? a.row < b.row : a.key < b.key; });
    return std::move(found_);
  }

 private:
  void take(std::int64_t r, std::int64_t key, std::int64_t first, std::int64_t seen) {
    const float* score = score_.data() + r * chunk_keys;
    const double shift = lse_[static_cast<std::size_t>(row_ + r)] - bases_.of(r);
    const auto low = static_cast<float>(shift + std::log(least) - 1e-3);  // exp decides what is close
    int close = 0;
    for (std::int64_t n = first; n < seen; ++n) close += score[n] >= low;
    if (close == 0) return;
    for (std::int64_t n = first; n < seen; ++n) {
      if (score[n] < low) continue;
      const double weight = std::exp(static_cast<double>(score[n]) - shift);
      if (weight >= least)
        found_.push_back({static_cast<std::int32_t>(row_ + r), static_cast<std::int32_t>(key + n),
                          static_cast<float>(weight)});
    }
  }

  const AttentionInputs& head_;
  std::span<const double> lse_;
  std::int64_t row_, rows_;
  RowBases bases_;
  AlignedVector<float> score_;
  std::vector<Peak> found_;
};

}  // namespace

std::vector<Peak> cpu_peaks(const AttentionInputs& head, std::span<const double> lse) {
  const std::int64_t rows = head.geometry.q_len, tiles = (rows + tile_rows - 1) / tile_rows;
  const ScoreRange range(head);
  std::vector<std::vector<Peak>> found(static_cast<std::size_t>(tiles));
  parallel_for(tiles, [&](std::int64_t task) {
    const std::int64_t tile = tiles - 1 - task, row = tile * tile_rows;  // late tiles see the most keys
    found[static_cast<std::size_t>(tile)] =
        TilePeaks(head, range, lse, row, std::min(tile_rows, rows - row)).find();
  });
  std::vector<Peak> all;
  for (const std::vector<Peak>& tile : found) all.insert(all.end(), tile.begin(), tile.end());
  return all;
}

std::vector<Peak> reference_peaks(const AttentionInputs& head) {
  const Geometry& g = head.geometry;
  std::vector<Peak> all;
  std::vector<double> weight(static_cast<std::size_t>(g.kv_len));
  for (std::int64_t i = 0; i < g.q_len; ++i) {
    check_interrupt();
    double max = -std::numeric_limits<double>::infinity(), sum = 0;
    const auto first = static_cast<std::size_t>(g.first_visible(i)),
               seen = static_cast<std::size_t>(g.visible(i));
    for (std::size_t j = first; j < seen; ++j) {
      double dot = 0;
      for (int c = 0; c < g.head_dim; ++c)
        dot += static_cast<double>(head.q_row(0, i)[c]) *
               static_cast<double>(head.k[static_cast<std::int64_t>(j) * g.head_dim + c]);
      weight[j] = dot * g.softmax_scale;
      max = std::max(max, weight[j]);
    }
    for (std::size_t j = first; j < seen; ++j) sum += weight[j] = std::exp(weight[j] - max);
    for (std::size_t j = first; j < seen; ++j) {
      if (weight[j] / sum >= least)
        all.push_back({static_cast<std::int32_t>(i), static_cast<std::int32_t>(j),
                       static_cast<float>(weight[j] / sum)});
    }
  }
  return all;
}

}  // namespace anchor
