#include <cuda_bf16.h>

#include "anchor/kernels/model.hpp"
#include "check.hpp"

namespace anchor::kernels {
namespace {

constexpr int threads = 256;

/// Sum (or another reduction) over a block, given to all its threads.
template <class Combine>
__device__ float reduce(float value, Combine combine) {
  __shared__ float part[threads / 32];
  for (int step = 16; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(~0u, value, step));
  __syncthreads();  // `part` may still be read from the call before
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = value;
  __syncthreads();
  value = part[0];
  for (int warp = 1; warp < threads / 32; ++warp) value = combine(value, part[warp]);
  return value;
}
__device__ float add(float a, float b) { return a + b; }

__global__ void rms_norm_kernel(const float* x, const float* weight, float eps, int width,
                                __nv_bfloat16* out) {
  const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(width);
  float squares = 0;
  for (int i = threadIdx.x; i < width; i += threads) squares += x[row + i] * x[row + i];
  const float scale = rsqrtf(reduce(squares, add) / static_cast<float>(width) + eps);
  for (int i = threadIdx.x; i < width; i += threads)
    out[row + i] = __float2bfloat16(x[row + i] * scale * weight[i]);
}

__global__ void split_heads_kernel(SplitHeads p) {
  const int half = p.dim / 2, heads = p.q_heads + 2 * p.kv_heads;
  const std::int64_t at = blockIdx.x * std::int64_t{threads} + threadIdx.x;
  if (at >= p.rows * heads * half) return;
  const int i = static_cast<int>(at % half), head = static_cast<int>(at / half % heads);
  const std::int64_t row = at / half / heads, position = p.begin + row;
  const float* from = p.projected + (row * heads + head) * p.dim;
  float first = from[i], second = from[i + half];
  if (head < p.q_heads + p.kv_heads) {
    const float cos = p.cos[position * half + i], sin = p.sin[position * half + i];
    const float turned = first * cos - second * sin;
    second = second * cos + first * sin;
    first = turned;
  }
  const bool is_q = head < p.q_heads, is_k = !is_q && head < p.q_heads + p.kv_heads;
  const int local = is_q ? head : is_k ? head - p.q_heads : head - p.q_heads - p.kv_heads;
  auto* to = static_cast<__nv_bfloat16*>(is_q   ? p.q
                                         : is_k ? p.k
                                                : p.v) +
             (local * p.tokens + position) * p.dim;
  to[i] = __float2bfloat16(first);
  to[i + half] = __float2bfloat16(second);
}

__global__ void swiglu_kernel(const float* gate_up, std::int64_t rows, int width, __nv_bfloat16* out) {
  const std::int64_t at = blockIdx.x * std::int64_t{threads} + threadIdx.x;
  if (at >= rows * width) return;
  const float* row = gate_up + at / width * 2 * width;
  const float gate = row[at % width];
  out[at] = __float2bfloat16(gate / (1 + __expf(-gate)) * row[width + at % width]);
}

__global__ void likelihood_kernel(const float* logits, const std::int32_t* target, std::int64_t width,
                                  float* out) {
  const float* row = logits + blockIdx.x * width;
  float highest = -INFINITY;
  for (std::int64_t i = threadIdx.x; i < width; i += threads) highest = fmaxf(highest, row[i]);
  highest = reduce(highest, [](float a, float b) { return fmaxf(a, b); });
  float sum = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += threads) sum += expf(row[i] - highest);
  sum = reduce(sum, add);
  if (threadIdx.x == 0) out[blockIdx.x] = highest + logf(sum) - row[target[blockIdx.x]];
}

unsigned blocks(std::int64_t work) { return static_cast<unsigned>((work + threads - 1) / threads); }

}  // namespace

void rms_norm(const float* x, const float* weight, float eps, std::int64_t rows, int width, void* out,
              const Stream& stream) {
  rms_norm_kernel<<<static_cast<unsigned>(rows), threads, 0, stream.handle()>>>(
      x, weight, eps, width, static_cast<__nv_bfloat16*>(out));
  check_launch("rms_norm");
}

void split_heads(const SplitHeads& params, const Stream& stream) {
  const std::int64_t work = params.rows * (params.q_heads + 2 * params.kv_heads) * (params.dim / 2);
  split_heads_kernel<<<blocks(work), threads, 0, stream.handle()>>>(params);
  check_launch("split_heads");
}

void swiglu(const float* gate_up, std::int64_t rows, int width, void* out, const Stream& stream) {
  swiglu_kernel<<<blocks(rows * width), threads, 0, stream.handle()>>>(gate_up, rows, width,
                                                                       static_cast<__nv_bfloat16*>(out));
  check_launch("swiglu");
}

void negative_log_likelihood(const float* logits, const std::int32_t* target, std::int64_t rows,
                             std::int64_t width, float* out, const Stream& stream) {
  likelihood_kernel<<<static_cast<unsigned>(rows), threads, 0, stream.handle()>>>(logits, target, width, out);
  check_launch("negative_log_likelihood");
}

}  // namespace anchor::kernels
