#pragma once

#include <vector>

#include "anchor/base/geometry.hpp"
#include "anchor/base/kv_group.hpp"

namespace anchor {

/// Float views of one attention problem. Nothing is owned; K and V are never repeated for grouped queries.
struct AttentionInputs {
  Geometry geometry;
  const float* q = nullptr;  ///< [q_heads, q_len, head_dim]; heads lie q_head_stride floats apart
  const float* k = nullptr;  ///< [kv_heads, kv_len, head_dim], contiguous
  const float* v = nullptr;  ///< like k; may be nullptr where only scores are needed
  std::int64_t q_head_stride = 0;

  /// Where the heads come from, for methods that know more about a head than its numbers.
  struct Origin {
    int layer = 0;
    int first_kv_head = 0;               ///< model index of the first KV head
    const Rotation* rotation = nullptr;  ///< of the layer's queries and keys; nullptr = none
  };
  Origin origin = {};

  const float* q_row(int head, std::int64_t i) const {
    return q + head * q_head_stride + i * geometry.head_dim;
  }
  /// Keys (or values) of the KV head that a query head reads.
  const float* keys(int q_head) const {
    return k + geometry.kv_head(q_head) * geometry.kv_len * geometry.head_dim;
  }
  const float* values(int q_head) const {
    return v + geometry.kv_head(q_head) * geometry.kv_len * geometry.head_dim;
  }

  /// One query head alone (q_heads = kv_heads = 1).
  AttentionInputs head(int q_head) const;
  /// Query rows [begin, end) of every head.
  AttentionInputs rows(std::int64_t begin, std::int64_t end) const;
};

/// The float copy of a KV group that the CPU works on.
struct FloatGroup {
  explicit FloatGroup(const KvGroup& group);
  AttentionInputs view() const;

  Geometry geometry;
  AlignedVector<float> q, k, v;
  int layer, first_kv_head;
  std::shared_ptr<const Rotation> rotation;
};

/// Attention output and normaliser. A row that sees no key has out = 0 and lse = -infinity.
struct AttentionResult {
  std::vector<float> out;   ///< [q_heads, q_len, head_dim]
  std::vector<double> lse;  ///< [q_heads, q_len], natural log of sum exp(scaled score) over the visible keys
  /// With mean correction: lse of the normaliser of `out`, means included. Empty without.
  std::vector<double> lse_corrected = {};
};

}  // namespace anchor
