#pragma once

#include <cstdint>

// Operands and accumulators of 16 rows a warp as mma.sync and wgmma lay them out over the lanes alike.
namespace anchor::kernels {

constexpr float log2e = 1.44269504088896341f;
constexpr float ln2 = 0.693147180559945309f;

/// Rows [first, first + 16 m_tiles) of a matrix in the layout of the A operand; rows past `end` repeat the
/// last one. Row r of a lane (m tile r / 2, half r % 2) is first + lane / 4 + 8 r.
template <int m_tiles, int k_steps, typename Scalar>
__device__ __forceinline__ void load_operand(unsigned (&a)[m_tiles][k_steps][4], const Scalar* matrix,
                                             std::int64_t stride, int first, int end) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < 2 * m_tiles; ++r) {
    const int row = min(first + lane / 4 + 8 * r, end - 1);
    const auto* from = reinterpret_cast<const unsigned*>(matrix + row * stride) + lane % 4;
#pragma unroll
    for (int k = 0; k < k_steps; ++k) {
      a[r / 2][k][r % 2] = from[k * 8];
      a[r / 2][k][r % 2 + 2] = from[k * 8 + 4];
    }
  }
}

/// Sum and maximum over the four lanes that share the rows of an accumulator.
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

}  // namespace anchor::kernels
