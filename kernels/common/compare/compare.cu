#include "anchor/kernels/compare.hpp"
#include "check.hpp"

namespace anchor::kernels {
namespace {

constexpr int kThreads = 256;

template <class Combine>
__device__ double combine_block(double x, Combine combine) {
  __shared__ double warps[kThreads / 32];
  for (int step = 16; step > 0; step /= 2) x = combine(x, __shfl_xor_sync(~0u, x, step));
  __syncthreads();
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();
  x = warps[0];
  for (int n = 1; n < kThreads / 32; ++n) x = combine(x, warps[n]);
  return x;
}
__device__ double block_sum(double x) {
  return combine_block(x, [](double a, double b) { return a + b; });
}

/// Part x of head y: sums in an order fixed by the shapes.
__global__ void __launch_bounds__(kThreads) compare_kernel(CompareParams p) {
  const std::int64_t head = blockIdx.y, first = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  constexpr std::int64_t stride = std::int64_t{compare_parts} * kThreads;
  const std::int64_t elements = p.rows * p.head_dim, dense_row = head * p.dense_rows + p.first;
  const float *out = p.out + head * elements, *dense_out = p.dense_out + dense_row * p.head_dim;
  CompareSums sums{};
  for (std::int64_t n = first; n < elements; n += stride) {
    const float d = fabsf(out[n] - dense_out[n]);
    const double wide = d, expected = dense_out[n];
    sums.within_001 += d < 0.01f;
    sums.within_0005 += d < 0.005f;
    sums.abs += wide;
    sums.max_abs = fmax(sums.max_abs, wide);
    sums.squares += wide * wide;
    sums.dense_squares += expected * expected;
  }
  for (std::int64_t n = first; n < p.rows; n += stride)
    sums.recall += static_cast<double>(expf(p.lse[head * p.rows + n] - p.dense_lse[dense_row + n]));
  sums.within_001 = block_sum(sums.within_001);
  sums.within_0005 = block_sum(sums.within_0005);
  sums.abs = block_sum(sums.abs);
  sums.max_abs = combine_block(sums.max_abs, [](double a, double b) { return fmax(a, b); });
  sums.squares = block_sum(sums.squares);
  sums.dense_squares = block_sum(sums.dense_squares);
  sums.recall = block_sum(sums.recall);
  if (threadIdx.x == 0) p.sums[head * compare_parts + blockIdx.x] = sums;
}

}  // namespace

void compare(const CompareParams& params, const Stream& stream) {
  if (params.rows == 0) return;
  compare_kernel<<<dim3(compare_parts, static_cast<unsigned>(params.heads)), kThreads, 0, stream.handle()>>>(
      params);
  check_launch("compare_kernel");
}

}  // namespace anchor::kernels
