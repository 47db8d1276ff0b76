#include <cmath>
#include <initializer_list>
#include <limits>
#include <optional>

#include "anchor/base/aligned.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/anchor_windows.hpp"
#include "anchor/method/antidiagonal.hpp"
#include "anchor/method/method.hpp"
#include "anchor/method/param_specs.hpp"

// Our own method; STRIPES.md explains it. Every tile of query rows keeps a
// small region, its own keys and the first few, and a window of keys before it. Any other key before the tile
// becomes a stripe of it when its weight is at least exp(-theta). The weight beside the region is exp(score -
// lse of the row's region) averaged over the tile's rows: the arithmetic mean needs every row's score
// (score=rows), the geometric mean one product with the mean query (score=pooled; never larger). With
// score=antidiagonal all keys of a block weigh what XAttention gives to the block. With score=peak a key
// weighs the largest share that any row of the tile gives to it, exp(score - lse of all keys that the row
// sees): no mean hides the one row that asks for it. What stays out counts through block means.
namespace anchor {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t chunk_keys = 512;
constexpr std::int64_t antidiagonal_stride = 16;

enum class Score : std::uint8_t { pooled, rows, antidiagonal, peak };

Score score_of(const Params& params) {
  const std::string& name = params.choice("score");
  if (name == "rows") return Score::rows;
  if (name == "antidiagonal") return Score::antidiagonal;
  return name == "peak" ? Score::peak : Score::pooled;
}

/// One head, and what its tiles share.
struct StripeHead {
  StripeHead(const AttentionInputs& alone, const Params& params)
      : inputs(alone),
        block(params.integer("block")),
        sink(params.integer("sink")),
        window(params.integer("window")),
        score(score_of(params)) {
    if (inputs.geometry.q_start % block != 0) {
      fail("stripes: a chunk must start at a multiple of the block ({} rows), not at {}", block,
           inputs.geometry.q_start);
    }
    if (score != Score::antidiagonal) return;
    if (block % antidiagonal_stride != 0) {
      fail_usage("stripes: score = antidiagonal needs a block that is a multiple of {}, not block = {}",
                 antidiagonal_stride, block);
    }
    antidiagonal.emplace(inputs, antidiagonal_stride, block, false);
  }

  AttentionInputs inputs;
  std::int64_t block, sink, window;
  Score score;
  std::optional<Antidiagonal> antidiagonal;  ///< with that score
};

/// One tile of query rows of one head, and its candidates: the keys between sink and window, in a layer with
/// a sliding window those that some row of the tile sees.
class StripeTile {
 public:
  StripeTile(const StripeHead& head, std::int64_t tile)
      : own_(head), head_(head.inputs), tile_(tile), row_(tile * head.block) {
    rows_ = std::min(head.block, head_.geometry.q_len - row_);
    start_ = head_.geometry.q_start + row_;
    sink_ = std::min(head.sink, start_);
    const std::int64_t begin = std::max(sink_, head_.geometry.first_visible(row_));
    candidates_ = {begin, std::max(begin, start_ - head.window)};
  }

  std::int64_t rows() const { return rows_; }
  KeyRange candidates() const { return candidates_; }

  /// The keys before the tile that its rows see at `theta`.
  std::vector<std::int32_t> columns(float theta) const {
    std::vector<std::int32_t> columns;
    const auto keep = [&](std::int64_t key) { columns.push_back(static_cast<std::int32_t>(key)); };
    for (std::int64_t key = 0; key < sink_; ++key) keep(key);
    const std::vector<float> critical = this->critical();
    for (std::size_t n = 0; n < critical.size(); ++n)
      if (critical[n] <= theta) keep(candidates_.begin + static_cast<std::int64_t>(n));
    for (std::int64_t key = candidates_.end; key < start_; ++key) keep(key);
    return columns;
  }

  /// -ln of every candidate's weight: it is kept exactly when this is at most theta.
  std::vector<float> critical() const {
    if (own_.antidiagonal) return block_critical();
    if (own_.score == Score::peak) return peak_critical();
    std::vector<float> critical(static_cast<std::size_t>(candidates_.size()));
    const std::vector<float> lse = region_lse();
    AlignedVector<float> mean = mean_query();
    double mean_lse = 0;
    for (const float x : lse) mean_lse += static_cast<double>(x) / static_cast<double>(rows_);
    const bool by_rows = own_.score == Score::rows;
    AlignedVector<float> score(static_cast<std::size_t>((by_rows ? rows_ : 1) * chunk_keys));
    AlignedVector<float> sum(static_cast<std::size_t>(chunk_keys));
    for (std::int64_t key = candidates_.begin; key < candidates_.end; key += chunk_keys) {
      const std::int64_t count = std::min(chunk_keys, candidates_.end - key);
      float* out = critical.data() + (key - candidates_.begin);
      if (!by_rows) {
        scores(mean.data(), 1, key, count, score.data());
        for (std::int64_t n = 0; n < count; ++n)
          out[n] = static_cast<float>(mean_lse) - score[static_cast<std::size_t>(n)];
        continue;
      }
      scores(head_.q_row(0, row_), rows_, key, count, score.data());
      for (std::int64_t r = 0; r < rows_; ++r) hide(r, key, count, score.data());
      matrix_ops().exp_rows(rows_, count, score.data(), chunk_keys, lse.data());
      std::fill(sum.begin(), sum.end(), 0.f);
      matrix_ops().add_columns(rows_, count, score.data(), chunk_keys, sum.data());
      for (std::int64_t n = 0; n < count; ++n) {
        const float weight = sum[static_cast<std::size_t>(n)] / static_cast<float>(rows_);
        out[n] = std::max(-std::log(weight), std::numeric_limits<float>::lowest());
      }
    }
    return critical;
  }

 private:
  /// The same from block masses: a block weighs its mean share over the tile's query cells.
  std::vector<float> block_critical() const {
    const std::vector<float> mass = own_.antidiagonal->block_mass(tile_);
    const auto cells = static_cast<float>(own_.antidiagonal->cell_rows(tile_));
    std::vector<float> critical;
    for (std::int64_t key = candidates_.begin; key < candidates_.end; ++key)
      critical.push_back(-std::log(mass[static_cast<std::size_t>(key / own_.block)] / cells));
    return critical;
  }

  /// The same from each candidate's largest weight in a row: the least lse - score.
  std::vector<float> peak_critical() const {
    std::vector<float> critical(static_cast<std::size_t>(candidates_.size()), infinity);
    if (critical.empty()) return critical;
    const std::vector<float> lse =
        row_lse({{head_.geometry.first_visible(row_), head_.geometry.visible(row_ + rows_ - 1)}});
    AlignedVector<float> score(static_cast<std::size_t>(rows_ * chunk_keys));
    for (std::int64_t key = candidates_.begin; key < candidates_.end; key += chunk_keys) {
      const std::int64_t count = std::min(chunk_keys, candidates_.end - key);
      scores(head_.q_row(0, row_), rows_, key, count, score.data());
      float* out = critical.data() + (key - candidates_.begin);
      for (std::int64_t r = 0; r < rows_; ++r) {
        hide(r, key, count, score.data());
        const float* own = score.data() + r * chunk_keys;
        for (std::int64_t n = 0; n < count; ++n)
          out[n] = std::min(out[n], lse[static_cast<std::size_t>(r)] - own[n]);
      }
    }
    return critical;
  }

  void scores(const float* q, std::int64_t rows, std::int64_t key, std::int64_t keys, float* out) const {
    const Geometry& g = head_.geometry;
    matrix_ops().gemm_nt(rows, keys, g.head_dim, static_cast<float>(g.softmax_scale), q, g.head_dim,
                         head_.k + key * g.head_dim, g.head_dim, out, chunk_keys);
  }

  /// Masks the scores of a tile's row with keys [key, key + count) that the layer's window hides from it.
  void hide(std::int64_t r, std::int64_t key, std::int64_t count, float* score) const {
    const std::int64_t hidden = head_.geometry.first_visible(row_ + r) - key;
    if (hidden > 0) std::fill_n(score + r * chunk_keys, std::min(hidden, count), -infinity);
  }

  /// ln of sum exp(score) of every row over the keys that its tile keeps anyway.
  std::vector<float> region_lse() const {
    return row_lse({{std::min(sink_, head_.geometry.first_visible(row_)), sink_},
                    {start_, head_.geometry.visible(row_ + rows_ - 1)}});
  }

  /// ln of sum exp(score) of every row over these keys, as far as it sees them.
  std::vector<float> row_lse(std::initializer_list<KeyRange> ranges) const {
    std::vector<float> max(static_cast<std::size_t>(rows_), -infinity), shrink(max.size());
    std::vector<double> sum(max.size(), 0);
    AlignedVector<float> score(static_cast<std::size_t>(rows_ * chunk_keys));
    const auto add = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t key = begin; key < end; key += chunk_keys) {
        const std::int64_t count = std::min(chunk_keys, end - key);
        scores(head_.q_row(0, row_), rows_, key, count, score.data());
        for (std::int64_t r = 0; r < rows_; ++r) {
          const std::int64_t seen =
              std::clamp<std::int64_t>(head_.geometry.visible(row_ + r) - key, 0, count);
          std::fill(score.begin() + r * chunk_keys + seen, score.begin() + r * chunk_keys + count, -infinity);
          hide(r, key, count, score.data());
        }
        matrix_ops().softmax_step(rows_, count, score.data(), chunk_keys, max.data(), sum.data(),
                                  shrink.data());
      }
    };
    for (const KeyRange& keys : ranges) add(keys.begin, keys.end);
    std::vector<float> lse;
    for (std::size_t r = 0; r < max.size(); ++r)
      lse.push_back(static_cast<float>(static_cast<double>(max[r]) + std::log(sum[r])));
    return lse;
  }

  AlignedVector<float> mean_query() const {
    const std::int64_t dim = head_.geometry.head_dim;
    std::vector<double> sum(static_cast<std::size_t>(dim), 0);
    for (std::int64_t r = 0; r < rows_; ++r) {
      for (std::int64_t c = 0; c < dim; ++c)
        sum[static_cast<std::size_t>(c)] += static_cast<double>(head_.q_row(0, row_ + r)[c]);
    }
    AlignedVector<float> mean;
    for (const double x : sum) mean.push_back(static_cast<float>(x / static_cast<double>(rows_)));
    return mean;
  }

  const StripeHead& own_;
  const AttentionInputs& head_;
  std::int64_t tile_, row_, rows_ = 0, start_ = 0, sink_ = 0;
  KeyRange candidates_;
};

SparsePlan plan_stripes(const AttentionInputs& inputs, const PlanRequest& request) {
  const auto block = static_cast<int>(request.params.integer("block"));
  SparsePlan plan{.geometry = inputs.geometry,
                  .q_tile = block,
                  .kv_tile = block,
                  .mean_correction = request.params.integer("correction") != 0};
  for (int head = 0; head < plan.geometry.q_heads; ++head) {
    const StripeHead own(inputs.head(head), request.of(head));
    const auto theta = static_cast<float>(request.knob("theta", head));
    std::vector<std::vector<std::int32_t>> columns(static_cast<std::size_t>(plan.groups()));
    parallel_for(plan.groups(), [&](std::int64_t task) {
      const std::int64_t g = plan.groups() - 1 - task;  // late tiles have the most candidates
      columns[static_cast<std::size_t>(g)] = StripeTile(own, g).columns(theta);
    });
    for (std::int64_t g = 0; g < plan.groups(); ++g) {
      auto& listed = columns[static_cast<std::size_t>(g)];
      plan.columns.items.insert(plan.columns.items.end(), listed.begin(), listed.end());
      listed = {};
      append_run(plan, plan.geometry.q_start + g * plan.group_rows(), plan.group_end(g), plan.group_end(g));
      plan.blocks.end_row();
      plan.columns.end_row();
    }
  }
  return plan;
}

CriticalItems critical_stripes(const AttentionInputs& inputs, int q_head, const Params& params,
                               const MassMap& mass) {
  const StripeHead head(inputs.head(q_head), params);
  const Geometry& geometry = head.inputs.geometry;
  CriticalItems items{.causal_pairs = geometry.causal_pairs(), .query_rows = geometry.q_len};
  items.forced_pairs = items.causal_pairs;
  items.forced_mass = static_cast<double>(geometry.q_len);
  std::vector<std::vector<float>> critical(static_cast<std::size_t>(mass.groups()));
  parallel_for(mass.groups(), [&](std::int64_t g) {
    critical[static_cast<std::size_t>(g)] = StripeTile(head, g).critical();
  });
  for (std::int64_t g = 0; g < mass.groups(); ++g) {
    const StripeTile tile(head, g);
    const KeyRange keys = tile.candidates();
    for (std::int64_t j = keys.begin; j < keys.end; ++j) {
      const float m = mass.column_row(g)[j];
      const std::int64_t begin = g * head.block, end = begin + tile.rows();
      const auto pairs = static_cast<std::int32_t>(geometry.rows_that_see(j, begin, end));
      items.forced_pairs -= pairs;
      items.forced_mass -= static_cast<double>(m);
      items.knob.push_back(critical[static_cast<std::size_t>(g)][static_cast<std::size_t>(j - keys.begin)]);
      items.pairs.push_back(pairs);
      items.mass.push_back(m);
      items.place(begin, end, j);
    }
  }
  return items;
}

}  // namespace

Method stripes_method() {
  constexpr double unbounded = std::numeric_limits<double>::infinity();
  return {
      .name = "stripes",
      .title = "Stripes by their weight beside the local region, calibrated head by head",
      .knob = "theta",
      .params = {real_param("theta", 7, -unbounded, unbounded,
                            "least weight of a stripe, as -ln; natural-log units"),
                 block_param("block", 128, "query rows per tile, which share one list"),
                 tokens_param("sink", 4, 0, "first keys that every query keeps"),
                 choice_param("score", {"pooled", "rows", "antidiagonal", "peak"},
                              "weights from the mean query, from every row's scores, of whole blocks from "
                              "XAttention's scores, or each key's largest in any row"),
                 tokens_param("window", 0, 0, "keys before the tile that every query keeps"),
                 integer_param("correction", 1, 0, 1, "1: keys left out count through block means")},
      .head_params = {"score", "window"},
      .plan_cpu = plan_stripes,
      .granularity = [](const Params& params,
                        const Geometry&) { return MassGranularity{.group_rows = params.integer("block")}; },
      .critical_cpu = critical_stripes};
}

}  // namespace anchor
