#include "anchor/attention/cpu_executor.hpp"

#include <cmath>
#include <limits>

#include "anchor/attention/score_range.hpp"
#include "anchor/base/aligned.hpp"
#include "anchor/base/block_means.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

constexpr std::int64_t chunk_keys = 512;    // scores of a 128-row tile against one chunk stay in L2
constexpr std::int64_t diagonal_keys = 64;  // smaller chunks at the diagonal: less work above it
constexpr float infinity = std::numeric_limits<float>::infinity();

/// Scratch that a thread keeps from tile to tile: fresh memory would cost page faults and zeroing every time.
struct Scratch {
  AlignedVector<float> score, keys, values;
};

Scratch& thread_scratch() {
  thread_local Scratch scratch;
  return scratch;
}

/// The running softmax of one tile of query rows, and the scratch that its steps need.
class Tile {
 public:
  Tile(const AttentionInputs& inputs, const SparsePlan& plan, const ScoreRange& range, int head,
       std::int64_t begin, std::int64_t rows)
      : inputs_(inputs),
        plan_(plan),
        bases_(inputs, range, head, begin, rows),
        head_(head),
        dim_(inputs.geometry.head_dim),
        begin_(begin),
        rows_(rows),
        max_(static_cast<std::size_t>(rows), -infinity),
        shrink_(max_.size()),
        sum_(max_.size(), 0),
        acc_(static_cast<std::size_t>(rows * dim_), 0.f),
        score_(thread_scratch().score),
        gathered_k_(thread_scratch().keys),
        gathered_v_(thread_scratch().values) {
    score_.resize(std::max(score_.size(), static_cast<std::size_t>(rows * chunk_keys)));
  }

  /// Keys [begin, end), a contiguous run. From the diagonal on, a chunk skips the rows before it.
  void add_run(std::int64_t begin, std::int64_t end) {
    const std::int64_t diagonal = inputs_.geometry.causal ? position(0) + 1 : end;
    while (begin < end) {
      const std::int64_t count = begin < diagonal ? std::min({chunk_keys, end - begin, diagonal - begin})
                                                  : std::min(diagonal_keys, end - begin);
      const std::int64_t first_row = begin < diagonal ? 0 : begin - position(0);
      const float* keys = inputs_.keys(head_) + begin * dim_;
      score(keys, count, first_row);
      mask_run(begin, count, first_row);
      relate(keys, count, first_row);
      step(inputs_.values(head_) + begin * dim_, count, first_row);
      begin += count;
    }
  }

  /// Listed keys, gathered chunk by chunk.
  void add_columns(std::span<const std::int32_t> columns) {
    for (std::size_t at = 0; at < columns.size(); at += chunk_keys) {
      const auto part = columns.subspan(at, std::min<std::size_t>(chunk_keys, columns.size() - at));
      gather(part, inputs_.keys(head_), inputs_.values(head_));
      score(gathered_k_.data(), std::ssize(part));
      mask_columns(part);
      relate(gathered_k_.data(), std::ssize(part));
      step(gathered_v_.data(), std::ssize(part));
    }
  }

  /// Keys [from, reach) that each row's own list names: the products of all, of which the others are masked.
  void add_lists(std::int64_t from, std::int64_t reach) {
    std::vector<std::span<const std::int32_t>> left;
    for (std::int64_t r = 0; r < rows_; ++r) left.push_back(plan_.columns[plan_.row_of(head_, begin_ + r)]);
    float listed[chunk_keys];
    for (std::int64_t begin = from; begin < reach; begin += chunk_keys) {
      const std::int64_t count = std::min(chunk_keys, reach - begin);
      const float* keys = inputs_.keys(head_) + begin * dim_;
      score(keys, count);
      for (std::int64_t r = 0; r < rows_; ++r) {
        float* row = score_.data() + r * chunk_keys;
        auto& columns = left[static_cast<std::size_t>(r)];
        std::fill_n(listed, count, -infinity);
        std::size_t n = 0;
        for (; n < columns.size() && columns[n] < begin + count; ++n)
          listed[columns[n] - begin] = row[columns[n] - begin];
        columns = columns.subspan(n);
        std::copy_n(listed, count, row);
      }
      relate(keys, count);
      step(inputs_.values(head_) + begin * dim_, count);
    }
  }

  /// One block under plan.pv_skip: left out if every row's scores are far below the row's maximum so far.
  void add_block_unless_far(std::int64_t begin, std::int64_t end) {
    const std::int64_t count = end - begin;
    const float* keys = inputs_.keys(head_) + begin * dim_;
    score(keys, count);
    mask_run(begin, count);
    relate(keys, count);
    constexpr double ln2 = 0.693147180559945309;
    bool far = true;
    for (std::int64_t r = 0; far && r < rows_; ++r) {
      const float* row = score_.data() + r * chunk_keys;
      const float top = *std::max_element(row, row + count);
      far = top == -infinity ||
            static_cast<double>(top) - static_cast<double>(max_[static_cast<std::size_t>(r)]) <=
                -*plan_.pv_skip * ln2;
    }
    if (!far) step(inputs_.values(head_) + begin * dim_, count);
  }

  /// The keys of plan_.mean_blocks() that the row does not list, as copies of their blocks' means. lse stays
  /// as it is.
  void add_means(const float* mean_k, const float* mean_v) {
    std::vector<std::int32_t> pruned;
    std::vector<float> copies;  // ln of how many
    const auto [first, last] = plan_.mean_blocks(begin_, rows_);
    for (std::int64_t n = first; n < last; ++n) {
      const std::int64_t left = plan_.unlisted(plan_.row_of(head_, begin_), n * plan_.kv_tile);
      if (left == 0) continue;
      pruned.push_back(static_cast<std::int32_t>(n));
      copies.push_back(static_cast<float>(std::log(static_cast<double>(left))));
    }
    for (std::int64_t r = 0; r < rows_; ++r) set_lse_.push_back(lse(r));
    for (std::size_t at = 0; at < pruned.size(); at += chunk_keys) {
      const auto part = std::span(pruned).subspan(at, std::min<std::size_t>(chunk_keys, pruned.size() - at));
      gather(part, mean_k, mean_v);
      score(gathered_k_.data(), std::ssize(part));
      relate(gathered_k_.data(), std::ssize(part));
      for (std::int64_t r = 0; r < rows_; ++r) {
        for (std::size_t n = 0; n < part.size(); ++n)
          score_[static_cast<std::size_t>(r * chunk_keys) + n] += copies[at + n];
      }
      step(gathered_v_.data(), std::ssize(part));
    }
  }

  /// Adds the already visible keys of plan.dup once more to out; they raise no maximum and leave lse alone.
  void add_duplicates(std::span<const std::int32_t> dup) {
    sum_out_ = sum_;
    for (std::size_t at = 0; at < dup.size(); at += chunk_keys) {
      const auto part = dup.subspan(at, std::min<std::size_t>(chunk_keys, dup.size() - at));
      const std::int64_t count = std::ssize(part);
      gather(part, inputs_.keys(head_), inputs_.values(head_));
      score(gathered_k_.data(), count);
      mask_columns(part);
      relate(gathered_k_.data(), count);
      matrix_ops().exp_rows(rows_, count, score_.data(), chunk_keys, max_.data());
      for (std::int64_t r = 0; r < rows_; ++r) {
        for (std::int64_t n = 0; n < count; ++n)
          sum_out_[static_cast<std::size_t>(r)] +=
              static_cast<double>(score_[static_cast<std::size_t>(r * chunk_keys + n)]);
      }
      matrix_ops().gemm_nn_add(rows_, dim_, count, score_.data(), chunk_keys, gathered_v_.data(), dim_,
                               acc_.data(), dim_);
    }
  }

  void store(AttentionResult& result) const {
    const auto& weight = sum_out_.empty() ? sum_ : sum_out_;
    for (std::int64_t r = 0; r < rows_; ++r) {
      const auto row = static_cast<std::size_t>(r);
      const std::int64_t at = head_ * inputs_.geometry.q_len + begin_ + r;
      result.lse[static_cast<std::size_t>(at)] = plan_.mean_correction ? set_lse_[row] : lse(r);
      if (plan_.mean_correction) result.lse_corrected[static_cast<std::size_t>(at)] = lse(r);
      const float scale = weight[row] > 0 ? static_cast<float>(1 / weight[row]) : 0.f;
      for (std::int64_t c = 0; c < dim_; ++c)
        result.out[static_cast<std::size_t>(at * dim_ + c)] =
            acc_[static_cast<std::size_t>(r * dim_ + c)] * scale;
    }
  }

 private:
  /// The log-sum-exp of what has been added so far.
  double lse(std::int64_t r) const {
    const auto row = static_cast<std::size_t>(r);
    if (max_[row] == -infinity) return -static_cast<double>(infinity);
    return bases_.of(r) + static_cast<double>(max_[row]) + std::log(sum_[row]);
  }

  std::int64_t position(std::int64_t r) const { return inputs_.geometry.q_start + begin_ + r; }

  bool needs_mask(std::int64_t first_key, std::int64_t last_key) const {
    if (last_key > position(0)) return true;
    if (first_key < inputs_.geometry.first_visible(begin_ + rows_ - 1)) return true;
    return plan_.window && last_key >= plan_.window->sink &&
           position(rows_ - 1) - first_key >= plan_.window->local[static_cast<std::size_t>(head_)];
  }

  void gather(std::span<const std::int32_t> columns, const float* keys, const float* values) {
    gathered_k_.resize(std::max(gathered_k_.size(), static_cast<std::size_t>(chunk_keys * dim_)));
    gathered_v_.resize(gathered_k_.size());
    for (std::size_t n = 0; n < columns.size(); ++n) {
      std::copy_n(keys + columns[n] * dim_, dim_, gathered_k_.data() + static_cast<std::int64_t>(n) * dim_);
      std::copy_n(values + columns[n] * dim_, dim_, gathered_v_.data() + static_cast<std::int64_t>(n) * dim_);
    }
  }

  void score(const float* keys, std::int64_t count, std::int64_t first_row = 0) {
    matrix_ops().gemm_nt(rows_ - first_row, count, dim_, static_cast<float>(inputs_.geometry.softmax_scale),
                         inputs_.q_row(head_, begin_ + first_row), dim_, keys, dim_,
                         score_.data() + first_row * chunk_keys, chunk_keys);
  }

  /// Scores of massive activations relative to their rows' bases, from masked scores.
  void relate(const float* keys, std::int64_t count, std::int64_t first_row = 0) {
    bases_.relate(first_row, keys, count, score_.data(), chunk_keys, max_.data());
  }

  void mask_run(std::int64_t begin, std::int64_t count, std::int64_t first_row = 0) {
    if (!needs_mask(begin, begin + count - 1)) return;
    mask(first_row, count, [&](std::int64_t key) { return std::clamp<std::int64_t>(key - begin, 0, count); });
  }

  void mask_columns(std::span<const std::int32_t> columns) {
    if (!needs_mask(columns.front(), columns.back())) return;
    mask(0, std::ssize(columns), [&](std::int64_t key) {
      return std::lower_bound(columns.begin(), columns.end(), key) - columns.begin();
    });
  }

  /// Masks scores of sorted keys: what plan_.allows() forbids is the keys after the query, those before the
  /// layer's window, and the range between the sink and the local part of the plan's. `index_of` gives the
  /// number of keys before a key.
  template <class IndexOf>
  void mask(std::int64_t first_row, std::int64_t count, IndexOf index_of) {
    for (std::int64_t r = first_row; r < rows_; ++r) {
      float* row = score_.data() + r * chunk_keys;
      if (inputs_.geometry.causal) std::fill(row + index_of(position(r) + 1), row + count, -infinity);
      if (inputs_.geometry.sliding_window > 0)
        std::fill(row, row + index_of(inputs_.geometry.first_visible(begin_ + r)), -infinity);
      if (!plan_.window || position(r) >= plan_.window->dense_from) continue;
      const std::int64_t local = plan_.window->local[static_cast<std::size_t>(head_)];
      const std::int64_t from = index_of(plan_.window->sink), to = index_of(position(r) - local + 1);
      if (from < to) std::fill(row + from, row + to, -infinity);
    }
  }

  void step(const float* values, std::int64_t count, std::int64_t first_row = 0) {
    const MatrixOps& ops = matrix_ops();
    const std::int64_t rows = rows_ - first_row;
    float* scores = score_.data() + first_row * chunk_keys;
    ops.softmax_step(rows, count, scores, chunk_keys, max_.data() + first_row, sum_.data() + first_row,
                     shrink_.data() + first_row);
    for (std::int64_t r = first_row; r < rows_; ++r) {
      const float shrink = shrink_[static_cast<std::size_t>(r)];
      if (shrink == 1) continue;
      for (std::int64_t c = 0; c < dim_; ++c) acc_[static_cast<std::size_t>(r * dim_ + c)] *= shrink;
    }
    ops.gemm_nn_add(rows, dim_, count, scores, chunk_keys, values, dim_, acc_.data() + first_row * dim_,
                    dim_);
  }

  const AttentionInputs& inputs_;
  const SparsePlan& plan_;
  RowBases bases_;
  int head_;
  std::int64_t dim_, begin_, rows_;
  std::vector<float> max_, shrink_;
  std::vector<double> sum_, sum_out_;
  std::vector<double> set_lse_;  ///< of the listed keys, where means follow
  AlignedVector<float> acc_;
  AlignedVector<float>&score_, &gathered_k_, &gathered_v_;
};

/// Mean keys and values of all blocks of a head's KV head, for plans with mean correction.
struct Means {
  AlignedVector<float> k, v;
};

void run_tile(const AttentionInputs& inputs, const SparsePlan& plan, const ScoreRange& range,
              const std::vector<Means>& means, int head, std::int64_t begin, AttentionResult& result) {
  const Geometry& g = plan.geometry;
  const std::int64_t rows = std::min<std::int64_t>(plan.q_tile, g.q_len - begin);
  const std::int64_t from = g.first_visible(begin), reach = g.visible(begin + rows - 1);
  const std::int64_t row = plan.row_of(head, begin);
  Tile tile(inputs, plan, range, head, begin, rows);

  const auto blocks = plan.blocks[row];
  const auto seen = std::ranges::upper_bound(blocks, from - plan.kv_tile);  // no row sees what ends before
  for (auto n = static_cast<std::size_t>(seen - blocks.begin()); n < blocks.size() && blocks[n] < reach;) {
    const std::int64_t run = blocks[n];
    std::int64_t end = run;
    if (plan.pv_skip) {
      end += plan.block_width(blocks[n++]);
      tile.add_block_unless_far(run, std::min(end, reach));
      continue;
    }
    while (n < blocks.size() && blocks[n] == end) end += plan.block_width(blocks[n++]);  // neighbours join
    tile.add_run(std::max(run, from), std::min(end, reach));
  }
  const auto seen_keys = [from, reach](std::span<const std::int32_t> keys) {
    return std::span(std::ranges::lower_bound(keys, from), std::ranges::lower_bound(keys, reach));
  };
  tile.add_columns(seen_keys(plan.columns[row]));
  if (plan.mean_correction) {
    const Means& mean = means[static_cast<std::size_t>(g.kv_head(head))];
    tile.add_means(mean.k.data(), mean.v.data());
  }
  if (plan.dup.rows() > 0) tile.add_duplicates(seen_keys(plan.dup[row]));
  tile.store(result);
}

/// Single rows with lists of columns and nothing else, as oracles make them.
bool lists_single_rows(const SparsePlan& plan) {
  return plan.q_tile == 1 && plan.tiles_per_row == 1 && plan.blocks.items.empty() && !plan.window &&
         plan.dup.rows() == 0 && !plan.mean_correction;
}

/// Runs rows [begin, begin + rows) with lists of their own together if gathering the keys of each would take
/// longer than all products; false otherwise.
bool run_rows(const AttentionInputs& inputs, const SparsePlan& plan, const ScoreRange& range, int head,
              std::int64_t begin, std::int64_t rows, AttentionResult& result) {
  constexpr std::int64_t gathering = 8;  // a gathered product takes so many times as long
  const std::int64_t from = plan.geometry.first_visible(begin);
  const std::int64_t reach = plan.geometry.visible(begin + rows - 1);
  std::int64_t listed = 0;
  for (std::int64_t r = 0; r < rows; ++r) listed += std::ssize(plan.columns[plan.row_of(head, begin + r)]);
  if (listed * gathering < rows * (reach - from)) return false;
  Tile tile(inputs, plan, range, head, begin, rows);
  tile.add_lists(from, reach);
  tile.store(result);
  return true;
}

}  // namespace

AttentionResult cpu_attention(const AttentionInputs& inputs, const SparsePlan& plan) {
  const Geometry& g = plan.geometry;
  AttentionResult result{std::vector<float>(static_cast<std::size_t>(g.q_heads * g.q_len * g.head_dim)),
                         std::vector<double>(static_cast<std::size_t>(g.q_heads * g.q_len))};
  const ScoreRange range(inputs);
  std::vector<Means> means;
  if (plan.mean_correction) {
    result.lse_corrected.resize(result.lse.size());
    for (int head = 0; head < g.q_heads; head += g.q_heads / g.kv_heads) {
      means.push_back({block_means(inputs.keys(head), g.kv_len, g.head_dim, plan.kv_tile),
                       block_means(inputs.values(head), g.kv_len, g.head_dim, plan.kv_tile)});
    }
  }
  const std::int64_t tiles = (g.q_len + plan.q_tile - 1) / plan.q_tile;
  // A task is a tile, or many tiles where tiles are single rows. Late tiles see the most keys: start with
  // them.
  const std::int64_t per_task = std::max<std::int64_t>(1, 64 / plan.q_tile);
  const std::int64_t tasks = (tiles + per_task - 1) / per_task;
  const bool together = lists_single_rows(plan);
  parallel_for(g.q_heads * tasks, [&](std::int64_t task) {
    const int head = static_cast<int>(task / tasks);
    const std::int64_t first = (tasks - 1 - task % tasks) * per_task;
    if (together && run_rows(inputs, plan, range, head, first, std::min(per_task, tiles - first), result))
      return;
    for (std::int64_t t = first; t < std::min(first + per_task, tiles); ++t)
      run_tile(inputs, plan, range, means, head, t * plan.q_tile, result);
  });
  return result;
}

}  // namespace anchor
