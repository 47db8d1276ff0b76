#include "anchor/kernels/compare.hpp"
#include "check.hpp"

namespace anchor::kernels {
namespace {

constexpr int kThreads = 256;

__device__ double block_sum(double x) {
  __shared__ double warps[kThreads / 32];
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  __syncthreads();
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();
  double sum = 0;
  for (const double part : warps) sum += part;
  return sum;
}

/// Part x of head y: sums in an order fixed by the shapes.
__global__ void __launch_bounds__(kThreads) compare_kernel(CompareParams p) {
  const std::int64_t head = blockIdx.y, first = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  constexpr std::int64_t stride = std::int64_t{compare_parts} * kThreads;
  const std::int64_t elements = p.rows * p.head_dim;
  double difference = 0, dense = 0, recall = 0;
  for (std::int64_t n = first; n < elements; n += stride) {
    const double expected = p.dense_out[head * elements + n], d = p.out[head * elements + n] - expected;
    difference += d * d;
    dense += expected * expected;
  }
  for (std::int64_t n = first; n < p.rows; n += stride)
    recall += static_cast<double>(expf(p.lse[head * p.rows + n] - p.dense_lse[head * p.rows + n]));
  difference = block_sum(difference);
  dense = block_sum(dense);
  recall = block_sum(recall);
  if (threadIdx.x > 0) return;
  double* to = p.sums + (head * compare_parts + blockIdx.x) * 3;
  to[0] = difference, to[1] = dense, to[2] = recall;
}

}  // namespace

void compare(const CompareParams& params, const Stream& stream) {
  if (params.rows == 0) return;
  compare_kernel<<<dim3(compare_parts, static_cast<unsigned>(params.heads)), kThreads, 0, stream.handle()>>>(
      params);
  check_launch("compare_kernel");
}

}  // namespace anchor::kernels
