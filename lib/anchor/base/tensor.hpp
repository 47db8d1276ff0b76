#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "anchor/base/aligned.hpp"
#include "anchor/base/dtype.hpp"
#include "anchor/base/host_bytes.hpp"

namespace anchor {

/// A stored tensor [head, token, dim], contiguous, in its file's element type. Owns its bytes.
struct Tensor {
  DType dtype = DType::f32;
  std::array<std::int64_t, 3> shape{};  ///< heads, tokens, dim
  HostBytes bytes;

  std::int64_t size() const { return shape[0] * shape[1] * shape[2]; }

  /// All elements as float.
  AlignedVector<float> to_float() const {
    AlignedVector<float> values(static_cast<std::size_t>(size()));
    anchor::to_float(dtype, bytes.data(), values);
    return values;
  }

  static Tensor from_float(DType dtype, std::array<std::int64_t, 3> shape, std::span<const float> values) {
    Tensor tensor{dtype, shape, HostBytes(values.size() * size_of(dtype))};
    anchor::from_float(dtype, values, tensor.bytes.data());
    return tensor;
  }
};

}  // namespace anchor
