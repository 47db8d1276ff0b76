#pragma once

#include <memory>

#include "anchor/base/geometry.hpp"
#include "anchor/base/rotation.hpp"
#include "anchor/base/tensor.hpp"

namespace anchor {

/// The unit of work: the query heads of one layer that share one KV head, with that head's keys and values.
struct KvGroup {
  int layer = 0;
  int kv_head = 0;       ///< index in the model
  int first_q_head = 0;  ///< model index of the group's first query head
  Geometry geometry;     ///< kv_heads = 1, q_heads = the heads in this group (a selection keeps them all)
  Tensor q;              ///< [q_heads, q_len, head_dim]
  Tensor k, v;           ///< [1, kv_len, head_dim]
  /// How positions turned the layer's queries and keys; nullptr = they did not.
  std::shared_ptr<const Rotation> rotation = nullptr;
};

}  // namespace anchor
