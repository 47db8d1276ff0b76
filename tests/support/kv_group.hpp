#pragma once

#include "anchor/base/kv_group.hpp"
#include "support/random.hpp"

namespace anchor::test {

/// Random inputs as a stored KV group (or a layer, if kv_heads > 1).
inline KvGroup random_group(const Geometry& geometry, DType dtype, unsigned seed = 1, float sharpness = 2) {
  const RandomInputs inputs = random_inputs(geometry, seed, sharpness);
  const auto dim = static_cast<std::int64_t>(geometry.head_dim);
  return {.geometry = inputs.geometry,
          .q = Tensor::from_float(dtype, {geometry.q_heads, geometry.q_len, dim}, inputs.q),
          .k = Tensor::from_float(dtype, {geometry.kv_heads, geometry.kv_len, dim}, inputs.k),
          .v = Tensor::from_float(dtype, {geometry.kv_heads, geometry.kv_len, dim}, inputs.v)};
}

}  // namespace anchor::test
