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

__global__ void add_rms_norm_kernel(const float* product, const float* weight, float eps, int width,
                                    float* x) {
  const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(width);
  float squares = 0;
  for (int i = threadIdx.x; i < width; i += threads) squares += product[row + i] * product[row + i];
  const float scale = rsqrtf(reduce(squares, add) / static_cast<float>(width) + eps);
  for (int i = threadIdx.x; i < width; i += threads) x[row + i] += product[row + i] * scale * weight[i];
}

__global__ void add_bias_kernel(const float* bias, std::int64_t rows, std::int64_t width, float* x) {
  const std::int64_t at = blockIdx.x * std::int64_t{threads} + threadIdx.x;
  if (at < rows * width) x[at] += bias[at % width];
}

// One warp per row and head.
__global__ void split_heads_kernel(SplitHeads p) {
  const int heads = p.q_heads + 2 * p.kv_heads, lane = static_cast<int>(threadIdx.x % 32);
  const std::int64_t at = (blockIdx.x * std::int64_t{threads} + threadIdx.x) / 32;
  if (at >= p.rows * heads) return;
  const int head = static_cast<int>(at % heads);
  const std::int64_t row = at / heads, position = p.begin + row;
  const float* from = p.projected + (row * heads + head) * p.dim;
  const bool is_q = head < p.q_heads, is_k = !is_q && head < p.q_heads + p.kv_heads;
  const float* norm = is_q ? p.q_norm : is_k ? p.k_norm : nullptr;
  float scale = 1;
  if (norm) {
    float squares = 0;
    for (int i = lane; i < p.dim; i += 32) squares += from[i] * from[i];
    for (int step = 16; step > 0; step /= 2) squares += __shfl_xor_sync(~0u, squares, step);
    scale = rsqrtf(squares / static_cast<float>(p.dim) + p.eps);
  }
  const auto value = [&](int i) { return norm ? from[i] * scale * norm[i] : from[i]; };
  const int local = is_q ? head : is_k ? head - p.q_heads : head - p.q_heads - p.kv_heads;
  auto* to = static_cast<__nv_bfloat16*>(is_q   ? p.q
                                         : is_k ? p.k
                                                : p.v) +
             (local * p.tokens + position) * p.dim;
  const int half = is_q || is_k ? p.rotated / 2 : 0;
  for (int i = lane; i < half; i += 32) {
    const float cos = p.cos[position * half + i], sin = p.sin[position * half + i];
    const float first = value(i), second = value(i + half);
    to[i] = __float2bfloat16(first * cos - second * sin);
    to[i + half] = __float2bfloat16(second * cos + first * sin);
  }
  for (int i = 2 * half + lane; i < p.dim; i += 32) to[i] = __float2bfloat16(value(i));
}

struct Silu {
  __device__ float operator()(float x) const { return x / (1 + __expf(-x)); }
};
struct Gelu {
  __device__ float operator()(float x) const {
    constexpr float root_2_by_pi = 0.7978845608028654f;
    return 0.5f * x * (1 + tanhf(root_2_by_pi * (x + 0.044715f * x * x * x)));
  }
};

template <class Activation>
__global__ void gate_kernel(const float* gate_up, std::int64_t rows, int width, __nv_bfloat16* out) {
  const std::int64_t at = blockIdx.x * std::int64_t{threads} + threadIdx.x;
  if (at >= rows * width) return;
  const float* row = gate_up + at / width * 2 * width;
  out[at] = __float2bfloat16(Activation()(row[at % width]) * row[width + at % width]);
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

void add_rms_norm(const float* product, const float* weight, float eps, std::int64_t rows, int width,
                  float* x, const Stream& stream) {
  add_rms_norm_kernel<<<static_cast<unsigned>(rows), threads, 0, stream.handle()>>>(product, weight, eps,
                                                                                    width, x);
  check_launch("add_rms_norm");
}

void add_bias(const float* bias, std::int64_t rows, std::int64_t width, float* x, const Stream& stream) {
  add_bias_kernel<<<blocks(rows * width), threads, 0, stream.handle()>>>(bias, rows, width, x);
  check_launch("add_bias");
}

void split_heads(const SplitHeads& params, const Stream& stream) {
  const std::int64_t warps = params.rows * (params.q_heads + 2 * params.kv_heads);
  split_heads_kernel<<<blocks(32 * warps), threads, 0, stream.handle()>>>(params);
  check_launch("split_heads");
}

void swiglu(const float* gate_up, std::int64_t rows, int width, void* out, const Stream& stream) {
  gate_kernel<Silu><<<blocks(rows * width), threads, 0, stream.handle()>>>(gate_up, rows, width,
                                                                           static_cast<__nv_bfloat16*>(out));
  check_launch("swiglu");
}

void geglu(const float* gate_up, std::int64_t rows, int width, void* out, const Stream& stream) {
  gate_kernel<Gelu><<<blocks(rows * width), threads, 0, stream.handle()>>>(gate_up, rows, width,
                                                                           static_cast<__nv_bfloat16*>(out));
  check_launch("geglu");
}

void negative_log_likelihood(const float* logits, const std::int32_t* target, std::int64_t rows,
                             std::int64_t width, float* out, const Stream& stream) {
  likelihood_kernel<<<static_cast<unsigned>(rows), threads, 0, stream.handle()>>>(logits, target, width, out);
  check_launch("negative_log_likelihood");
}

}  // namespace anchor::kernels
