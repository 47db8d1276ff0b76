#pragma once

#include "anchor/attention/attention.hpp"
#include "anchor/base/kv_group.hpp"

namespace anchor {

/// The float copy of one query head's rows [begin, end) of a layer, with the keys (not the values) it reads:
/// what planners and critical values need.
struct HeadChunk {
  HeadChunk(const KvGroup& layer, int head, std::int64_t begin, std::int64_t end);
  AttentionInputs view() const {
    return {geometry, q.data(), k.data(), nullptr, geometry.q_len * geometry.head_dim, origin};
  }

  Geometry geometry;  ///< one head
  AlignedVector<float> q, k;
  AttentionInputs::Origin origin;  ///< its rotation is the layer's, which must outlive the chunk
};

}  // namespace anchor
