#include "anchor/method/far_scores.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "anchor/base/counter_random.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/base/rotation.hpp"
#include "anchor/method/codebook_cache.hpp"

namespace anchor {
namespace {

constexpr std::int64_t page = 16;
constexpr std::int64_t forever = std::numeric_limits<std::int64_t>::max() / 2;

RetrievalRule::Rank rank_of(const Params& params) {
  using Rank = RetrievalRule::Rank;
  const std::string& name = params.choice("rank");
  if (name == "auto") return params.text("codebook").empty() ? Rank::keys : Rank::vq;
  if (name == "vq") return Rank::vq;
  if (name == "exact") return Rank::exact;
  if (name == "quest") return Rank::quest;
  return name == "random" ? Rank::random : Rank::keys;
}

}  // namespace

AlignedVector<float> queries_at(const AlignedVector<float>& queries, std::int64_t rows, int dim,
                                const Rotation* rotation, std::int64_t distance) {
  AlignedVector<float> made = queries;
  rotate_rows_to(rotation, made.data(), rows, dim, distance);
  if (rotation == nullptr || rotation->attention_factor == 1) return made;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < 2 * rotation->inv_freq.size(); ++c)
      made[static_cast<std::size_t>(r * dim) + c] *= static_cast<float>(rotation->attention_factor);
  return made;
}

RetrievalRule retrieval_rule(const Params& params) {
  RetrievalRule rule;
  rule.rank = rank_of(params);
  rule.window = params.integer("window");
  rule.sink = params.integer("sink");
  rule.b = params.integer("b");
  rule.buckets = params.is_word("buckets") ? 0 : params.real("buckets");
  if (rule.rank != RetrievalRule::Rank::vq) return rule;
  const std::string& file = params.text("codebook");
  if (file.empty())
    fail_usage(
        "a2ats.rank = vq: it ranks by the codes of a codebook: --set codebook=FILE, which anchor-sweep "
        "codebook "
        "makes; rank = keys needs none");
  rule.codebook = cached_codebook(file);
  return rule;
}

std::vector<DistanceBucket> distance_buckets(const RetrievalRule& rule, std::int64_t most) {
  if (rule.buckets == 1) return {{rule.window, forever, rule.b}};
  std::vector<DistanceBucket> buckets;
  if (rule.buckets == 0) {
    for (std::int64_t d = rule.window; d <= most; ++d) buckets.push_back({d, d + 1, d});
    return buckets;
  }
  const double window = static_cast<double>(std::max<std::int64_t>(1, rule.window));
  double last = -1;
  for (std::int64_t d = rule.window; d <= most; ++d) {
    const double m =
        std::floor(std::log(std::max(static_cast<double>(d), window) / window) / std::log(rule.buckets));
    if (m != last) {
      if (!buckets.empty()) buckets.back().to = d;
      const double middle = window * std::pow(rule.buckets, m + 0.5);
      buckets.push_back({d, forever, static_cast<std::int64_t>(std::nearbyint(middle))});
    }
    last = m;
  }
  return buckets;
}

FarScores::FarScores(const AttentionInputs& inputs, int kv_head, const RetrievalRule& rule)
    : inputs_(inputs), rule_(rule), dim_(inputs.geometry.head_dim) {
  using Rank = RetrievalRule::Rank;
  const Geometry& g = inputs.geometry;
  const std::int64_t last = position(g.q_len - 1);
  keys_ = std::clamp<std::int64_t>(rule.end_far(last), 0, g.kv_len);
  ranked_ = inputs.k + kv_head * g.kv_len * dim_;
  windowed_ = rule.rank == Rank::keys || (rule.rank == Rank::vq && rule.codebook->rope == "windowed");
  if (windowed_ || rule.rank == Rank::vq) {
    if (inputs.origin.rotation) inputs.origin.rotation->require_known(dim_);
  }
  if (windowed_) {
    unrotated_.assign(ranked_, ranked_ + keys_ * dim_);
    unrotate_rows(inputs.origin.rotation, unrotated_.data(), keys_, dim_, 0);
    ranked_ = unrotated_.data();
    buckets_ = distance_buckets(rule, last);
  } else {
    buckets_ = {{rule.window, forever, 0}};
  }
  if (rule.rank == Rank::vq) {
    quantizer_.emplace(*rule.codebook, inputs.origin.layer, inputs.origin.first_kv_head + kv_head, dim_);
    codes_ = quantizer_->assign(ranked_, keys_);
  }
  if (rule.rank != Rank::quest) return;
  const std::int64_t pages = (keys_ + page - 1) / page;
  low_.resize(static_cast<std::size_t>(pages * dim_));
  high_.resize(low_.size());
  for (std::int64_t p = 0; p < pages; ++p) {
    for (std::int64_t c = 0; c < dim_; ++c) {
      float low = std::numeric_limits<float>::infinity(), high = -low;
      for (std::int64_t j = p * page; j < std::min(keys_, (p + 1) * page); ++j) {
        low = std::min(low, ranked_[j * dim_ + c]);
        high = std::max(high, ranked_[j * dim_ + c]);
      }
      low_[static_cast<std::size_t>(p * dim_ + c)] = low;
      high_[static_cast<std::size_t>(p * dim_ + c)] = high;
    }
  }
}

void FarScores::rows(int head, std::int64_t first, std::int64_t rows, float* out, std::int64_t ld) const {
  switch (rule_.rank) {
    case RetrievalRule::Rank::vq:
    case RetrievalRule::Rank::keys:
      return seen_rows(head, first, rows, out, ld);
    case RetrievalRule::Rank::exact:
      return exact_rows(head, first, rows, out, ld);
    case RetrievalRule::Rank::quest:
      for (std::int64_t r = 0; r < rows; ++r) quest_row(head, first + r, out + r * ld);
      return;
    case RetrievalRule::Rank::random:
      for (std::int64_t r = 0; r < rows; ++r) random_row(head, first + r, out + r * ld);
  }
}

void FarScores::exact_rows(int head, std::int64_t first, std::int64_t rows, float* out,
                           std::int64_t ld) const {
  const std::int64_t keys = std::min(keys_, rule_.end_far(position(first + rows - 1)));
  if (keys <= 0) return;
  matrix_ops().gemm_nt(rows, keys, dim_, static_cast<float>(inputs_.geometry.softmax_scale),
                       inputs_.q_row(head, first), dim_, ranked_, dim_, out, ld);
}

void FarScores::seen_rows(int head, std::int64_t first, std::int64_t rows, float* out,
                          std::int64_t ld) const {
  if (rule_.end_far(position(first + rows - 1)) <= rule_.first_far()) return;
  const float* from = inputs_.q_row(head, first);
  AlignedVector<float> queries(from, from + rows * dim_);
  const Rotation* rotation = windowed_ ? inputs_.origin.rotation : nullptr;
  unrotate_rows(rotation, queries.data(), rows, dim_, position(first));
  for (const DistanceBucket& bucket : buckets_) {
    if (position(first + rows - 1) - bucket.from < rule_.first_far()) break;  // no far key is so far away
    const AlignedVector<float> at = queries_at(queries, rows, dim_, rotation, bucket.seen_at);
    score_bucket(bucket, at.data(), first, rows, out, ld);
  }
}

/// The keys of a bucket for all rows at once: a band of keys that moves with the row.
void FarScores::score_bucket(const DistanceBucket& bucket, const float* queries, std::int64_t first,
                             std::int64_t rows, float* out, std::int64_t ld) const {
  const auto scale = static_cast<float>(inputs_.geometry.softmax_scale);
  const auto begin_of = [&](std::int64_t r) {
    return std::max(rule_.first_far(), position(first + r) - bucket.to + 1);
  };
  const auto end_of = [&](std::int64_t r) { return position(first + r) - bucket.from + 1; };
  AlignedVector<float> scores;
  const std::int64_t low = begin_of(0), count = end_of(rows - 1) - low;
  if (count <= 0) return;
  if (quantizer_) {
    quantizer_->tables(queries, rows, scores);
  } else {
    scores.resize(static_cast<std::size_t>(rows * count));
    matrix_ops().gemm_nt(rows, count, dim_, scale, queries, dim_, ranked_ + low * dim_, dim_, scores.data(),
                         count);
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    if (!quantizer_) {
      const float* from = scores.data() + r * count - low;
      for (std::int64_t j = begin_of(r); j < end_of(r); ++j) out[r * ld + j] = from[j];
      continue;
    }
    const std::int64_t parts = quantizer_->parts(), codes = quantizer_->codes();
    const float* table = scores.data() + r * parts * codes;
    for (std::int64_t j = begin_of(r); j < end_of(r); ++j) {
      float sum = 0;
      for (std::int64_t part = 0; part < parts; ++part)
        sum += table[part * codes + codes_[static_cast<std::size_t>(j * parts + part)]];
      out[r * ld + j] = scale * sum;
    }
  }
}

/// A page's bound holds for its keys up to the last far key of the inputs' last row, as a cache of pages
/// would have it.
void FarScores::quest_row(int head, std::int64_t row, float* out) const {
  const float* q = inputs_.q_row(head, row);
  const std::int64_t end = rule_.end_far(position(row));
  for (std::int64_t j = rule_.first_far(); j < end;) {
    const std::int64_t p = j / page;
    float bound = 0;
    for (std::int64_t c = 0; c < dim_; ++c) {
      const auto at = static_cast<std::size_t>(p * dim_ + c);
      bound += std::max(q[c] * low_[at], q[c] * high_[at]);
    }
    for (; j < std::min(end, (p + 1) * page); ++j) out[j] = bound;
  }
}

void FarScores::random_row(int head, std::int64_t row, float* out) const {
  const Geometry& g = inputs_.geometry;
  const std::int64_t heads_before = std::int64_t{inputs_.origin.first_kv_head} * (g.q_heads / g.kv_heads);
  const CounterRandom random = CounterRandom(static_cast<std::uint64_t>(inputs_.origin.layer))
                                   .stream(static_cast<std::uint64_t>(heads_before + head))
                                   .stream(static_cast<std::uint64_t>(position(row)));
  for (std::int64_t j = rule_.first_far(); j < rule_.end_far(position(row)); ++j)
    out[j] = static_cast<float>(random.bits(static_cast<std::uint64_t>(j)) >> 40);
}

}  // namespace anchor
