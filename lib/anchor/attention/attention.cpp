#include "anchor/attention/attention.hpp"

namespace anchor {

AttentionInputs AttentionInputs::head(int q_head) const {
  AttentionInputs one = *this;
  one.geometry.q_heads = one.geometry.kv_heads = 1;
  one.q = q_row(q_head, 0);
  one.k = keys(q_head);
  one.v = v ? values(q_head) : nullptr;
  one.origin.first_kv_head += geometry.kv_head(q_head);
  return one;
}

AttentionInputs AttentionInputs::rows(std::int64_t begin, std::int64_t end) const {
  AttentionInputs part = *this;
  part.geometry = geometry.rows(begin, end);
  part.q = q + begin * geometry.head_dim;
  return part;
}

FloatGroup::FloatGroup(const KvGroup& group)
    : geometry(group.geometry),
      q(group.q.to_float()),
      k(group.k.to_float()),
      v(group.v.to_float()),
      layer(group.layer),
      first_kv_head(group.kv_head),
      rotation(group.rotation) {}

AttentionInputs FloatGroup::view() const {
  return {geometry,
          q.data(),
          k.data(),
          v.data(),
          geometry.q_len * geometry.head_dim,
          {layer, first_kv_head, rotation.get()}};
}

}  // namespace anchor
