#include "anchor/mass/mass_map.hpp"

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
constexpr float infinity = std::numeric_limits<float>::infinity();

/// Scores of query rows [row, row + rows) against keys [key, key + keys), masked by causality and the layer's
/// window, relative to the rows' bases; `max` are running maxima that move with them.
void scores(const AttentionInputs& head, RowBases& bases, std::int64_t row, std::int64_t rows,
            std::int64_t key, std::int64_t keys, AlignedVector<float>& out, std::int64_t ld, float* max) {
  const Geometry& g = head.geometry;
  matrix_ops().gemm_nt(rows, keys, g.head_dim, static_cast<float>(g.softmax_scale), head.q_row(0, row),
                       g.head_dim, head.k + key * g.head_dim, g.head_dim, out.data(), ld);
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t seen = std::clamp<std::int64_t>(g.visible(row + r) - key, 0, keys);
    const std::int64_t hidden = std::clamp<std::int64_t>(g.first_visible(row + r) - key, 0, seen);
    std::fill(out.data() + r * ld + seen, out.data() + r * ld + keys, -infinity);
    std::fill(out.data() + r * ld, out.data() + r * ld + hidden, -infinity);
  }
  bases.relate(0, head.k + key * g.head_dim, keys, out.data(), ld, max);
}

/// The second pass for one group of query rows (all rows if there are no groups) and one chunk of keys.
class ChunkSums {
 public:
  ChunkSums(const AttentionInputs& head, const ScoreRange& range, MassMap& map, std::int64_t chunk)
      : head_(head),
        range_(range),
        map_(map),
        chunk_(chunk),
        score_(static_cast<std::size_t>(tile_rows * chunk)),
        sums_(chunk_size()) {}

  void run(std::int64_t group, std::int64_t row_begin, std::int64_t row_end, std::int64_t key) {
    const Geometry& g = head_.geometry;
    const MassGranularity& grain = map_.granularity;
    const std::int64_t keys = std::min(chunk_, g.kv_len - key);
    std::vector<float> column_sums(grain.group_rows > 0 ? chunk_size() : 0, 0.f);
    std::vector<double> block_sums(
        grain.tile_rows > 0 ? static_cast<std::size_t>(chunk_ / grain.block_keys) : 0, 0);
    for (std::int64_t row = row_begin; row < row_end;) {
      std::int64_t end = std::min(row + tile_rows, row_end);
      if (grain.tile_rows > 0) end = std::min(end, (row / grain.tile_rows + 1) * grain.tile_rows);
      if (g.visible(end - 1) > key && g.first_visible(row) < key + keys) {
        add_rows(row, end - row, key, keys);
        for (std::size_t c = 0; c < column_sums.size(); ++c) column_sums[c] += sums_[c];
        for (std::size_t c = 0; !block_sums.empty() && c < sums_.size(); ++c) {
          block_sums[c / static_cast<std::size_t>(grain.block_keys)] += static_cast<double>(sums_[c]);
        }
      }
      row = end;
      if (grain.tile_rows > 0 && (row % grain.tile_rows == 0 || row == row_end))
        store_blocks(row - 1, key, keys, block_sums);
    }
    if (grain.group_rows > 0) {
      std::copy_n(column_sums.begin(), keys, map_.column_mass.begin() + group * g.kv_len + key);
    }
  }

 private:
  std::size_t chunk_size() const { return static_cast<std::size_t>(chunk_); }

  /// sums_ = column sums of exp(score - lse) over some rows of one tile.
  void add_rows(std::int64_t row, std::int64_t rows, std::int64_t key, std::int64_t keys) {
    const double* lse = map_.lse.data() + row;
    RowBases bases(head_, range_, 0, row, rows, lse);
    float shift[tile_rows];
    for (std::int64_t r = 0; r < rows; ++r) shift[r] = static_cast<float>(lse[r] - bases.of(r));
    float no_max[tile_rows];
    std::fill(std::begin(no_max), std::end(no_max), -infinity);
    scores(head_, bases, row, rows, key, keys, score_, chunk_, no_max);
    matrix_ops().exp_rows(rows, keys, score_.data(), chunk_, shift);
    std::fill(sums_.begin(), sums_.end(), 0.f);
    matrix_ops().add_columns(rows, keys, score_.data(), chunk_, sums_.data());
  }

  void store_blocks(std::int64_t row, std::int64_t key, std::int64_t keys, std::vector<double>& sums) {
    const MassGranularity& grain = map_.granularity;
    float* out = map_.block_mass.data() + row / grain.tile_rows * map_.blocks() + key / grain.block_keys;
    for (std::int64_t n = 0; n * grain.block_keys < keys; ++n)
      out[n] = static_cast<float>(sums[static_cast<std::size_t>(n)]);
    std::fill(sums.begin(), sums.end(), 0);
  }

  const AttentionInputs& head_;
  const ScoreRange& range_;
  MassMap& map_;
  std::int64_t chunk_;
  AlignedVector<float> score_, sums_;
};

}  // namespace

MassMap empty_mass_map(const Geometry& head, const MassGranularity& grain) {
  if ((grain.tile_rows > 0) != (grain.block_keys > 0))
    fail_usage("block masses need both tile rows and block keys");
  if (grain.group_rows > 0 && grain.tile_rows > 0 && grain.group_rows % grain.tile_rows != 0) {
    fail_usage("groups of {} rows do not consist of tiles of {}", grain.group_rows, grain.tile_rows);
  }
  MassMap map{.geometry = head, .granularity = grain};
  map.column_mass.assign(static_cast<std::size_t>(map.groups() * head.kv_len), 0.f);
  map.block_mass.assign(static_cast<std::size_t>(map.tiles() * map.blocks()), 0.f);
  return map;
}

namespace {

std::vector<double> dense_lse(const AttentionInputs& head, const ScoreRange& range) {
  const Geometry& g = head.geometry;
  std::vector<double> lse(static_cast<std::size_t>(g.q_len));
  const std::int64_t tiles = (g.q_len + tile_rows - 1) / tile_rows;
  parallel_for(tiles, [&](std::int64_t task) {
    const std::int64_t row = (tiles - 1 - task) * tile_rows;  // late tiles see the most keys
    const std::int64_t rows = std::min(tile_rows, g.q_len - row);
    const std::int64_t reach = g.visible(row + rows - 1);
    AlignedVector<float> score(static_cast<std::size_t>(tile_rows * chunk_keys));
    float max[tile_rows], shrink[tile_rows];
    double sum[tile_rows] = {};
    std::fill(std::begin(max), std::end(max), -infinity);
    RowBases bases(head, range, 0, row, rows);
    for (std::int64_t key = g.first_visible(row); key < reach; key += chunk_keys) {
      const std::int64_t keys = std::min(chunk_keys, reach - key);
      scores(head, bases, row, rows, key, keys, score, chunk_keys, max);
      matrix_ops().softmax_step(rows, keys, score.data(), chunk_keys, max, sum, shrink);
    }
    for (std::int64_t r = 0; r < rows; ++r)
      lse[static_cast<std::size_t>(row + r)] = bases.of(r) + static_cast<double>(max[r]) + std::log(sum[r]);
  });
  return lse;
}

}  // namespace

std::vector<double> cpu_lse(const AttentionInputs& head) { return dense_lse(head, ScoreRange(head)); }

MassMap cpu_mass_map(const AttentionInputs& head, const MassGranularity& grain) {
  const Geometry& g = head.geometry;
  MassMap map = empty_mass_map(g, grain);
  const ScoreRange range(head);
  map.lse = dense_lse(head, range);
  if (map.column_mass.empty() && map.block_mass.empty()) return map;

  // A worker owns the sums of (group, key chunk): nothing is shared, and the order of additions is fixed.
  const std::int64_t span = grain.group_rows > 0
                                ? grain.group_rows
                                : std::max(grain.tile_rows, tile_rows / grain.tile_rows * grain.tile_rows);
  const std::int64_t chunk =
      grain.block_keys == 0 ? chunk_keys
                            : std::max(grain.block_keys, chunk_keys / grain.block_keys * grain.block_keys);
  const std::int64_t spans = (g.q_len + span - 1) / span, chunks = (g.kv_len + chunk - 1) / chunk;
  parallel_for(spans * chunks, [&](std::int64_t task) {
    const std::int64_t group = spans - 1 - task / chunks, key = task % chunks * chunk;
    const std::int64_t row_end = std::min((group + 1) * span, g.q_len);
    if (g.visible(row_end - 1) <= key || g.first_visible(group * span) >= key + chunk) return;
    ChunkSums(head, range, map, chunk).run(group, group * span, row_end, key);
  });
  return map;
}

MassMap reference_mass_map(const AttentionInputs& head, const MassGranularity& grain) {
  const Geometry& g = head.geometry;
  MassMap map = empty_mass_map(g, grain);
  map.lse.resize(static_cast<std::size_t>(g.q_len));
  std::vector<double> columns(map.column_mass.size(), 0), blocks(map.block_mass.size(), 0);
  std::vector<double> score(static_cast<std::size_t>(g.kv_len));
  for (std::int64_t i = 0; i < g.q_len; ++i) {
    check_interrupt();
    double max = -std::numeric_limits<double>::infinity(), sum = 0;
    for (std::int64_t j = g.first_visible(i); j < g.visible(i); ++j) {
      double dot = 0;
      for (int c = 0; c < g.head_dim; ++c) {
        dot += static_cast<double>(head.q_row(0, i)[c]) * static_cast<double>(head.k[j * g.head_dim + c]);
      }
      score[static_cast<std::size_t>(j)] = dot * g.softmax_scale;
      max = std::max(max, score[static_cast<std::size_t>(j)]);
    }
    for (std::int64_t j = g.first_visible(i); j < g.visible(i); ++j)
      sum += std::exp(score[static_cast<std::size_t>(j)] - max);
    const double lse = max + std::log(sum);
    map.lse[static_cast<std::size_t>(i)] = lse;
    for (std::int64_t j = g.first_visible(i); j < g.visible(i); ++j) {
      const double p = std::exp(score[static_cast<std::size_t>(j)] - lse);
      if (grain.group_rows > 0) columns[static_cast<std::size_t>(i / grain.group_rows * g.kv_len + j)] += p;
      if (grain.tile_rows > 0)
        blocks[static_cast<std::size_t>(i / grain.tile_rows * map.blocks() + j / grain.block_keys)] += p;
    }
  }
  std::copy(columns.begin(), columns.end(), map.column_mass.begin());
  std::copy(blocks.begin(), blocks.end(), map.block_mass.begin());
  return map;
}

}  // namespace anchor
