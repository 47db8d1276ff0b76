#pragma once

#include <cmath>
#include <memory>

#include "anchor/base/rotation.hpp"
#include "support/random.hpp"

namespace anchor::test {

/// RoPE frequencies of `dims` rotated dimensions.
inline Rotation rotation_of(int dims, double theta = 1e4, double attention_factor = 1) {
  Rotation made{.attention_factor = attention_factor};
  for (int i = 0; i < dims / 2; ++i)
    made.inv_freq.push_back(static_cast<float>(std::pow(theta, -2. * i / dims)));
  return made;
}

/// Inputs whose queries and keys, taken as those before RoPE, were turned by their positions.
struct RotatedInputs {
  RotatedInputs(RandomInputs before, Rotation turned_by)
      : inputs(std::move(before)), rotation(std::move(turned_by)) {
    const Geometry& g = inputs.geometry;
    for (int h = 0; h < g.q_heads; ++h)
      rotate_rows(&rotation, inputs.q.data() + h * g.q_len * g.head_dim, g.q_len, g.head_dim, g.q_start);
    for (int h = 0; h < g.kv_heads; ++h)
      rotate_rows(&rotation, inputs.k.data() + h * g.kv_len * g.head_dim, g.kv_len, g.head_dim, 0);
  }
  AttentionInputs view() const {
    AttentionInputs made = inputs.view();
    made.origin.rotation = &rotation;
    return made;
  }

  RandomInputs inputs;
  Rotation rotation;
};

}  // namespace anchor::test
