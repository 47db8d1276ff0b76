#include <algorithm>
#include <cmath>
#include <limits>

#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/ordered_float.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/a2ats.hpp"
#include "anchor/method/order.hpp"

namespace anchor {
namespace {

constexpr std::int64_t most_pieces = 16;  // of the query rows; each has sums of its own, added in order

/// Pairs and mass by critical value, folded.
struct Histogram {
  explicit Histogram(std::uint32_t first_bin, std::size_t bins)
      : first(first_bin), largest(bins, 0), pairs(bins, 0), mass(bins, 0) {}

  void add(float knob, double weight) {
    const std::size_t bin = float_bin(knob) - first;
    largest[bin] = std::max(largest[bin], knob);
    ++pairs[bin];
    mass[bin] += weight;
  }

  std::uint32_t first;
  std::vector<float> largest;
  std::vector<std::int64_t> pairs;
  std::vector<double> mass;
  std::int64_t forced_pairs = 0;
  double forced_mass = 0;
};

/// The least float topk with floor(topk * seen) >= rank, as far_count() computes it.
float critical_of(std::int64_t rank, std::int64_t seen) {
  const auto keys = static_cast<double>(seen), wanted = static_cast<double>(rank);
  const auto enough = [&](float topk) { return static_cast<double>(topk) * keys >= wanted; };
  float topk = static_cast<float>(wanted / keys);
  while (!enough(topk)) topk = std::nextafter(topk, std::numeric_limits<float>::infinity());
  for (float less = topk; enough(less); less = std::nextafter(topk, 0.f)) topk = less;
  return topk;
}

/// What one piece of the rows adds.
class PieceOfRows {
 public:
  PieceOfRows(const AttentionInputs& inputs, int head, const RetrievalRule& rule, bool by_group,
              const FarScores& scores, const MassMap& mass, Histogram& sums)
      : inputs_(inputs), head_(head), rule_(rule), scores_(scores), mass_(mass), sums_(sums) {
    const Geometry& g = inputs.geometry;
    const int group = g.q_heads / g.kv_heads;
    first_head_ = by_group ? g.kv_head(head) * group : head;
    end_head_ = by_group ? first_head_ + group : head + 1;
  }

  void tile(std::int64_t first, std::int64_t rows) {
    const Geometry& g = inputs_.geometry;
    const std::int64_t seen = g.visible(first + rows - 1);
    exact_.resize(static_cast<std::size_t>(rows * seen));
    matrix_ops().gemm_nt(rows, seen, g.head_dim, static_cast<float>(g.softmax_scale),
                         inputs_.q_row(head_, first), g.head_dim, inputs_.keys(head_), g.head_dim,
                         exact_.data(), seen);
    ranks_.assign(static_cast<std::size_t>(rows * seen), std::numeric_limits<std::int32_t>::max());
    for (int head = first_head_; head < end_head_; ++head) {
      score_.resize(static_cast<std::size_t>(rows * seen));
      scores_.rows(head, first, rows, score_.data(), seen);
      for (std::int64_t r = 0; r < rows; ++r) rank(first + r, r * seen);
    }
    for (std::int64_t r = 0; r < rows; ++r) add(first + r, r * seen);
  }

 private:
  /// Ranks of a row's far keys by one head's scores, 1 = best; the least over heads stays.
  void rank(std::int64_t row, std::int64_t at) {
    const std::int64_t position = inputs_.geometry.q_start + row, begin = rule_.first_far();
    const std::int64_t far = rule_.end_far(position) - begin;
    if (far <= 0) return;
    const auto order = by_score({score_.data() + at + begin, static_cast<std::size_t>(far)});
    for (std::size_t n = 0; n < order.size(); ++n) {
      std::int32_t& best = ranks_[static_cast<std::size_t>(at + begin + order[n])];
      best = std::min(best, static_cast<std::int32_t>(n + 1));
    }
  }

  void add(std::int64_t row, std::int64_t at) {
    const std::int64_t position = inputs_.geometry.q_start + row;
    const double lse = mass_.lse[static_cast<std::size_t>(row)];
    for (std::int64_t j = 0; j <= position; ++j) {
      const auto place = static_cast<std::size_t>(at + j);
      const double weight = std::exp(static_cast<double>(exact_[place]) - lse);
      if (j < rule_.first_far() || j >= rule_.end_far(position)) {
        ++sums_.forced_pairs;
        sums_.forced_mass += weight;
      } else {
        sums_.add(critical_of(ranks_[place], position + 1), weight);
      }
    }
  }

  const AttentionInputs& inputs_;
  int head_, first_head_ = 0, end_head_ = 0;
  const RetrievalRule& rule_;
  const FarScores& scores_;
  const MassMap& mass_;
  Histogram& sums_;
  AlignedVector<float> exact_, score_;
  std::vector<std::int32_t> ranks_;
};

}  // namespace

CriticalItems critical_topk(const AttentionInputs& inputs, int head, const Params& params,
                            const MassMap& mass) {
  const Geometry& g = inputs.geometry;
  refuse_windows(g);
  const RetrievalRule rule = retrieval_rule(params);
  const FarScores scores(inputs, g.kv_head(head), rule);
  const bool by_group = params.choice("share") == "group";
  const std::uint32_t first = float_bin(0.5f / static_cast<float>(g.q_start + g.q_len));
  const std::size_t bins = float_bin(2.f) - first;
  const std::int64_t tiles = (g.q_len + far_rows_at_once - 1) / far_rows_at_once;
  const std::int64_t pieces = std::min(most_pieces, tiles);
  std::vector<Histogram> sums(static_cast<std::size_t>(pieces), Histogram(first, bins));
  parallel_for(pieces, [&](std::int64_t piece) {
    PieceOfRows work(inputs, head, rule, by_group, scores, mass, sums[static_cast<std::size_t>(piece)]);
    for (std::int64_t tile = piece; tile < tiles; tile += pieces) {
      check_interrupt();
      const std::int64_t row = tile * far_rows_at_once;
      work.tile(row, std::min(far_rows_at_once, g.q_len - row));
    }
  });
  CriticalItems items{.causal_pairs = g.causal_pairs(), .query_rows = g.q_len};
  for (const Histogram& part : sums) {
    items.forced_pairs += part.forced_pairs;
    items.forced_mass += part.forced_mass;
  }
  for (std::size_t bin = 0; bin < bins; ++bin) {
    float knob = 0;
    std::int64_t pairs = 0;
    double weight = 0;
    for (const Histogram& part : sums) {
      knob = std::max(knob, part.largest[bin]);
      pairs += part.pairs[bin];
      weight += part.mass[bin];
    }
    if (pairs == 0) continue;
    items.knob.push_back(knob);
    items.pairs.push_back(static_cast<std::int32_t>(pairs));
    items.mass.push_back(static_cast<float>(weight));
  }
  return items;
}

}  // namespace anchor
