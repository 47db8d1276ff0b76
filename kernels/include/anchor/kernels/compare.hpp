#pragma once

#include "anchor/kernels/device.hpp"

namespace anchor::kernels {

/// Sums of one part of a head; d = |out - dense_out| in float.
struct CompareSums {
  double within_001, within_0005;  ///< elements with d < 0.01 and d < 0.005
  double abs, max_abs, squares, dense_squares;
  double recall;  ///< exp(lse - dense_lse), over rows
};

/// Two attention results: [heads, rows, head_dim] and [heads, rows]; the dense one may have more rows.
struct CompareParams {
  int heads = 1, head_dim = 128;
  std::int64_t rows = 0;
  std::int64_t dense_rows = 0,
               first = 0;  ///< rows of the dense result, and which of them is row 0 of the other
  const float *out = nullptr, *dense_out = nullptr;
  const float *lse = nullptr, *dense_lse = nullptr;
  CompareSums* sums = nullptr;  ///< [heads, compare_parts]
};
constexpr int compare_parts = 64;
void compare(const CompareParams& params, const Stream& stream);

}  // namespace anchor::kernels
