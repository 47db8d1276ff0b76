#pragma once

#include <algorithm>
#include <cstdint>

namespace anchor {

/// Shape of one attention problem: which rows see which keys before any sparsity. Batch is always 1.
/// Query row i of a head sits at position q_start + i and sees keys 0 .. q_start + i.
struct Geometry {
  int q_heads = 1;
  int kv_heads = 1;  ///< divides q_heads
  std::int64_t q_len = 0;
  std::int64_t kv_len = 0;
  std::int64_t q_start = 0;  ///< position of query row 0 among the keys
  int head_dim = 0;
  double softmax_scale = 1;
  bool causal = true;
  std::int64_t sliding_window = 0;  ///< 0 = none

  /// The grouped-query map: consecutive query heads share a KV head.
  int kv_head(int q_head) const { return q_head / (q_heads / kv_heads); }

  /// Number of keys that query row i sees: keys [0, visible(i)).
  std::int64_t visible(std::int64_t i) const { return causal ? std::min(kv_len, q_start + i + 1) : kv_len; }

  /// All causal (row, key) pairs of one head: the denominator of every density.
  std::int64_t causal_pairs() const {
    if (!causal) return q_len * kv_len;
    const std::int64_t growing =
        std::clamp<std::int64_t>(kv_len - q_start, 0, q_len);  // rows seeing q_start+i+1
    return growing * q_start + growing * (growing + 1) / 2 + (q_len - growing) * kv_len;
  }

  /// The same problem restricted to query rows [begin, end): planners take row ranges this way.
  Geometry rows(std::int64_t begin, std::int64_t end) const {
    Geometry part = *this;
    part.q_start += begin;
    part.q_len = end - begin;
    return part;
  }

  bool operator==(const Geometry&) const = default;
};

}  // namespace anchor
