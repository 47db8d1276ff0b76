#pragma once

#include "anchor/kernels/device.hpp"

namespace anchor::kernels {

/// Two attention results of the same rows: [heads, rows, head_dim] and [heads, rows].
struct CompareParams {
  int heads = 1, head_dim = 128;
  std::int64_t rows = 0;
  const float *out = nullptr, *dense_out = nullptr;
  const float *lse = nullptr, *dense_lse = nullptr;
  double* sums =
      nullptr;  ///< [heads, compare_parts, 3]: of (out - dense)^2, dense^2 and exp(lse - dense_lse)
};
constexpr int compare_parts = 64;
void compare(const CompareParams& params, const Stream& stream);

}  // namespace anchor::kernels
