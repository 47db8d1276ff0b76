#pragma once

#include <algorithm>
#include <cstdint>

namespace anchor {

/// Shape of one attention problem: which rows see which keys before any sparsity. Batch is always 1.
/// Query row i of a head sits at position q_start + i and sees keys 0 .. q_start + i; in a layer with a
/// sliding window, those of them that lie less than `sliding_window` before it, itself included.
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

  /// One past the last key that query row i sees: it sees keys [first_visible(i), visible(i)).
  std::int64_t visible(std::int64_t i) const { return causal ? std::min(kv_len, q_start + i + 1) : kv_len; }
  /// The first key that query row i sees: 0 without a window.
  std::int64_t first_visible(std::int64_t i) const {
    return sliding_window > 0 ? std::clamp<std::int64_t>(q_start + i + 1 - sliding_window, 0, kv_len) : 0;
  }
  /// Does the window hide any key from any row? One as long as the text does not.
  bool windowed() const { return q_len > 0 && first_visible(q_len - 1) > 0; }

  /// All (row, key) pairs of one head that causality and the window allow: the denominator of every density.
  std::int64_t causal_pairs() const {
    std::int64_t pairs = q_len * kv_len;
    if (causal) {
      const std::int64_t growing =
          std::clamp<std::int64_t>(kv_len - q_start, 0, q_len);  // rows seeing q_start+i+1
      pairs = growing * q_start + growing * (growing + 1) / 2 + (q_len - growing) * kv_len;
    }
    if (!windowed()) return pairs;
    const std::int64_t from =
        std::max<std::int64_t>(0, sliding_window - q_start);  // rows from here lose keys
    const std::int64_t rows = q_len - from;
    return pairs - rows * first_visible(from) - rows * (rows - 1) / 2;
  }

  /// How many of the query rows [begin, end) see a key.
  std::int64_t rows_that_see(std::int64_t key, std::int64_t begin, std::int64_t end) const {
    if (causal) begin = std::max(begin, key - q_start);
    if (sliding_window > 0) end = std::min(end, key - q_start + sliding_window);
    return std::max<std::int64_t>(0, end - begin);
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
