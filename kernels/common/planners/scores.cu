#include "check.hpp"
#include "common/planners/grid.cuh"
#include "common/planners/scores.hpp"
#include "device/element.cuh"

namespace anchor::kernels {

Tokens queries(const Tensors& in) {
  return {in.shape.element, in.q, in.shape.q_heads, in.shape.q_len, in.shape.head_dim, in.stride_q_head,
          in.stride_q_token};
}

Tokens keys(const Tensors& in) {
  return {in.shape.element,  in.k, in.shape.kv_heads, in.shape.kv_len, in.shape.head_dim, in.stride_kv_head,
          in.stride_kv_token};
}

namespace {

/// Block x of head y. A thread adds 8 elements of every lanes-th row.
template <Element element>
__global__ void __launch_bounds__(128) means_kernel(Tokens x, int block, bool zero_padded, float* means) {
  using T = typename ElementTraits<element>::Type;
  __shared__ float sums[128 * 8];
  const int chunks = x.head_dim / 8, chunk = threadIdx.x % chunks, lane = threadIdx.x / chunks;
  const int lanes = 128 / chunks;
  const std::int64_t head = blockIdx.y, begin = static_cast<std::int64_t>(blockIdx.x) * block;
  const int rows = static_cast<int>(min(static_cast<std::int64_t>(block), x.tokens - begin));
  const T* from = static_cast<const T*>(x.data) + head * x.stride_head + begin * x.stride_token + chunk * 8;
  float sum[8] = {};
#pragma unroll 4
  for (int r = lane; r < rows; r += lanes) {
    const uint4 packed = *reinterpret_cast<const uint4*>(from + r * x.stride_token);
    const T* values = reinterpret_cast<const T*>(&packed);
#pragma unroll
    for (int i = 0; i < 8; ++i) sum[i] += ElementTraits<element>::to_float(values[i]);
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) sums[threadIdx.x * 8 + i] = sum[i];
  __syncthreads();
  float* to = means + (head * gridDim.x + blockIdx.x) * x.head_dim;
  for (int c = threadIdx.x; c < x.head_dim; c += 128) {
    float total = 0;
    for (int n = 0; n < lanes; ++n) total += sums[(n * chunks + c / 8) * 8 + c % 8];
    to[c] = total / static_cast<float>(zero_padded ? block : rows);
  }
}

/// Head x, dimension y * 32 + thread x; thread y adds every 32nd block.
__global__ void __launch_bounds__(1024)
    sequence_means_kernel(Tokens x, int block, const float* means, float* sequence_means) {
  __shared__ float sums[32][33];
  const std::int64_t blocks = (x.tokens + block - 1) / block, d = blockIdx.y * 32 + threadIdx.x;
  float sum = 0;
  for (std::int64_t n = threadIdx.y; n < blocks; n += 32) {
    const auto rows = static_cast<float>(min(static_cast<std::int64_t>(block), x.tokens - n * block));
    sum += means[(blockIdx.x * blocks + n) * x.head_dim + d] * rows;
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0) return;
  for (int n = 1; n < 32; ++n) sum += sums[n][threadIdx.x];
  sequence_means[blockIdx.x * x.head_dim + d] = sum / static_cast<float>(x.tokens);
}

constexpr int kSide = 64, kDepth = 16;

/// 64 tiles x 64 blocks of one head.
__global__ void __launch_bounds__(256)
    pooled_scores_kernel(BlockGrid grid, int head_dim, float scale, const float* q_means,
                         const float* k_means, int heads_per_kv, int first_head, const int* wanted,
                         float* scores) {
  __shared__ float q[kDepth][kSide + 4], k[kDepth][kSide + 4];
  const int first_tile = blockIdx.y * kSide, first_block = blockIdx.x * kSide;
  const int last_tile = min(first_tile + kSide, grid.tiles) - 1, head = first_head + blockIdx.z;
  if (first_block >= causal_blocks(grid, last_tile) || (wanted && !wanted[head])) return;
  const float* q_head = q_means + static_cast<std::int64_t>(head) * grid.tiles * head_dim;
  const float* k_head = k_means + static_cast<std::int64_t>(head / heads_per_kv) * grid.blocks * head_dim;
  const int row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
  const int load_row = threadIdx.x / 4, load_depth = threadIdx.x % 4 * 4;
  const float4* q_from = reinterpret_cast<const float4*>(
      q_head + static_cast<std::int64_t>(min(first_tile + load_row, grid.tiles - 1)) * head_dim + load_depth);
  const float4* k_from = reinterpret_cast<const float4*>(
      k_head + static_cast<std::int64_t>(min(first_block + load_row, grid.blocks - 1)) * head_dim +
      load_depth);
  float sum[4][4] = {};
  for (int depth = 0; depth < head_dim; depth += kDepth) {
    const float4 a = q_from[depth / 4], b = k_from[depth / 4];
    __syncthreads();
    q[load_depth][load_row] = a.x, q[load_depth + 1][load_row] = a.y;
    q[load_depth + 2][load_row] = a.z, q[load_depth + 3][load_row] = a.w;
    k[load_depth][load_row] = b.x, k[load_depth + 1][load_row] = b.y;
    k[load_depth + 2][load_row] = b.z, k[load_depth + 3][load_row] = b.w;
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      const float4 x = *reinterpret_cast<const float4*>(&q[d][row]);
      const float4 y = *reinterpret_cast<const float4*>(&k[d][column]);
      const float xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i][j] = fmaf(xs[i], ys[j], sum[i][j]);
    }
  }
  for (int i = 0; i < 4; ++i) {
    const int tile = first_tile + row + i;
    if (tile >= grid.tiles) break;
    float* to = scores + (static_cast<std::int64_t>(blockIdx.z) * grid.tiles + tile) * grid.blocks;
    const int causal = causal_blocks(grid, tile);
    for (int j = 0; j < 4; ++j)
      if (first_block + column + j < causal) to[first_block + column + j] = scale * sum[i][j];
  }
}

}  // namespace

void block_means(const Tokens& x, int block, bool zero_padded, float* means, CUstream_st* stream) {
  const dim3 grid(blocks_for(x.tokens, block), static_cast<unsigned>(x.heads));
  if (x.element == Element::bf16)
    means_kernel<Element::bf16><<<grid, 128, 0, stream>>>(x, block, zero_padded, means);
  else
    means_kernel<Element::f16><<<grid, 128, 0, stream>>>(x, block, zero_padded, means);
  check_launch("means_kernel");
}

void sequence_means(const Tokens& x, int block, const float* means, float* to, CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>(x.heads), static_cast<unsigned>(x.head_dim / 32));
  sequence_means_kernel<<<grid, dim3(32, 32), 0, stream>>>(x, block, means, to);
  check_launch("sequence_means_kernel");
}

void pooled_scores(const BlockGrid& grid, int head_dim, float scale, const float* q_means,
                   const float* k_means, int heads_per_kv, int first_head, int heads, const int* wanted,
                   float* scores, CUstream_st* stream) {
  const dim3 ctas(blocks_for(grid.blocks, kSide), blocks_for(grid.tiles, kSide),
                  static_cast<unsigned>(heads));
  pooled_scores_kernel<<<ctas, 256, 0, stream>>>(grid, head_dim, scale, q_means, k_means, heads_per_kv,
                                                 first_head, wanted, scores);
  check_launch("pooled_scores_kernel");
}

}  // namespace anchor::kernels
