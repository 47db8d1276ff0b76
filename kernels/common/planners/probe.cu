#include "check.hpp"
#include "common/planners/probe.hpp"
#include "sm80/tiles.cuh"

namespace anchor::kernels {
namespace {

using namespace sm80;

constexpr int kTileKeys = 64, kSpanKeys = 512, kMaxRows = 128;

/// Scores of the probe rows of head first_head + y against span x of the keys, and each row's normaliser
/// there.
template <Element element, int head_dim>
__global__ void __launch_bounds__(Warps<head_dim>::threads)
    probe_scores_kernel(Tensors in, Probe probe, int first_head) {
  using Warp = Warps<head_dim>;
  using Scalar = typename ElementTraits<element>::Type;
  constexpr int m_tiles = Warp::m_tiles, k_steps = head_dim / 16, n_tiles = kTileKeys / 8;
  constexpr int stage_bytes = kTileKeys * head_dim * 2;
  extern __shared__ __align__(1024) unsigned char shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int keys = static_cast<int>(in.shape.kv_len), first_row = keys - probe.rows;
  const int head = first_head + blockIdx.y, kv_head = head / (in.shape.q_heads / in.shape.kv_heads);
  const int begin = blockIdx.x * kSpanKeys, end = min(begin + kSpanKeys, keys);
  const int warp_row = warp * Warp::rows;

  const TileCopy<head_dim, Warp::threads> copy;
  const unsigned ring = shared_address(shared);
  const char* const k_base =
      static_cast<const char*>(in.k) + kv_head * in.stride_kv_head * 2 + copy.column * 16;
  const auto load = [&](int key_begin, unsigned stage) {
    if (key_begin < end) {
#pragma unroll
      for (int row = 0; row < kTileKeys; row += copy.step) {
        const int key = key_begin + copy.row + row;
        copy16(ring + copy.offset() + stage + row * copy.row_bytes,
               k_base + min(key, keys - 1) * in.stride_kv_token * 2, key < end);
      }
    }
    commit_copies();
  };
  load(begin, 0);
  Operand<m_tiles, k_steps> q;
  if (warp_row < probe.rows)
    load_operand(q.registers, static_cast<const Scalar*>(in.q) + head * in.stride_q_head, in.stride_q_token,
                 first_row + warp_row, keys);
  float highest[2 * m_tiles], sum[2 * m_tiles];
#pragma unroll
  for (int r = 0; r < 2 * m_tiles; ++r) highest[r] = -INFINITY, sum[r] = 0;
  const unsigned k_lane = ring + lane_offset<head_dim>();
  unsigned stage = 0;
  for (int key = begin; key < end; key += kTileKeys, stage ^= stage_bytes) {
    load(key + kTileKeys, stage ^ stage_bytes);
    wait_copies<1>();
    __syncthreads();
    if (warp_row < probe.rows) {
      float score[m_tiles][n_tiles][4];
      multiply_tile<element>(score, q, k_lane, stage);
#pragma unroll
      for (int r = 0; r < 2 * m_tiles; ++r) {
        const int row = warp_row + lane / 4 + 8 * r;
        float* const to =
            probe.scores + (static_cast<std::int64_t>(blockIdx.y) * probe.rows + row) * probe.stride;
        float top = highest[r];
#pragma unroll
        for (int n = 0; n < n_tiles; ++n) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float& s = score[r / 2][n][r % 2 * 2 + e];
            const int j = key + n * 8 + lane % 4 * 2 + e;
            s = j <= first_row + row && j < end ? s * in.shape.softmax_scale : -INFINITY;
            top = fmaxf(top, s);
          }
          if (row < probe.rows && key + n * 8 < end)
            *reinterpret_cast<float2*>(to + key + n * 8 + lane % 4 * 2) =
                make_float2(score[r / 2][n][r % 2 * 2], score[r / 2][n][r % 2 * 2 + 1]);
        }
        top = quad_max(top);
        if (top == -INFINITY) continue;
        float part = 0;
#pragma unroll
        for (int n = 0; n < n_tiles; ++n)
          part += exp2_approx((score[r / 2][n][r % 2 * 2] - top) * log2e) +
                  exp2_approx((score[r / 2][n][r % 2 * 2 + 1] - top) * log2e);
        sum[r] = sum[r] * exp2_approx((highest[r] - top) * log2e) + part;
        highest[r] = top;
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < 2 * m_tiles; ++r) {
    const int row = warp_row + lane / 4 + 8 * r;
    const float total = quad_sum(sum[r]);
    if (lane % 4 == 0 && row < probe.rows)
      probe.parts[(static_cast<std::int64_t>(blockIdx.y) * probe.rows + row) * probe.spans + blockIdx.x] =
          make_float2(highest[r], total);
  }
}

/// A warp joins the spans of one row.
__global__ void __launch_bounds__(128) probe_rows_kernel(Probe probe, std::int64_t rows) {
  const std::int64_t row = blockIdx.x * std::int64_t{4} + threadIdx.x / 32;
  if (row >= rows) return;
  const float2* parts = probe.parts + row * probe.spans;
  float top = -INFINITY;
  for (int n = threadIdx.x % 32; n < probe.spans; n += 32) top = fmaxf(top, parts[n].x);
  for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, step));
  float sum = 0;
  for (int n = threadIdx.x % 32; n < probe.spans; n += 32)
    if (parts[n].y > 0) sum += parts[n].y * expf(parts[n].x - top);
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  if (threadIdx.x % 32 == 0) probe.lse[row] = top + logf(sum);
}

/// Mean shares of one key and of one distance a thread.
__global__ void __launch_bounds__(256) profile_kernel(Probe probe, std::int64_t keys, int first_head) {
  __shared__ float lse[kMaxRows];
  for (int r = threadIdx.x; r < probe.rows; r += 256) lse[r] = probe.lse[blockIdx.y * probe.rows + r] * log2e;
  __syncthreads();
  const std::int64_t n = blockIdx.x * std::int64_t{256} + threadIdx.x;
  if (n >= keys) return;
  const float* scores = probe.scores + static_cast<std::int64_t>(blockIdx.y) * probe.rows * probe.stride;
  float column = 0, diagonal = 0;
#pragma unroll 8
  for (int r = 0; r < probe.rows; ++r) {
    column += exp2_approx(fmaf(scores[r * probe.stride + n], log2e, -lse[r]));
    const std::int64_t j = n - probe.rows + 1 + r;  // first row + r - (keys - 1 - n)
    if (j >= 0) diagonal += exp2_approx(fmaf(scores[r * probe.stride + j], log2e, -lse[r]));
  }
  const std::int64_t to = (first_head + blockIdx.y) * keys + n;
  probe.columns[to] = column / static_cast<float>(probe.rows);
  probe.diagonals[to] = diagonal / static_cast<float>(probe.rows);
}

template <Element element, int head_dim>
void launch_scores(const Tensors& in, const Probe& probe, int first_head, int heads, CUstream_st* stream) {
  constexpr int shared_bytes = 2 * kTileKeys * head_dim * 2;
  const auto kernel = probe_scores_kernel<element, head_dim>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  kernel<<<dim3(static_cast<unsigned>(probe.spans), static_cast<unsigned>(heads)), Warps<head_dim>::threads,
           shared_bytes, stream>>>(in, probe, first_head);
  check_launch("probe_scores_kernel");
}

template <Element element>
void launch_scores(const Tensors& in, const Probe& probe, int first_head, int heads, CUstream_st* stream) {
  if (in.shape.head_dim == 64) return launch_scores<element, 64>(in, probe, first_head, heads, stream);
  if (in.shape.head_dim == 128) return launch_scores<element, 128>(in, probe, first_head, heads, stream);
  launch_scores<element, 256>(in, probe, first_head, heads, stream);
}

}  // namespace

Probe::Probe(const Tensors& in, int probe_rows, Carver& carver) {
  const std::int64_t keys = in.shape.kv_len;
  rows = static_cast<int>(min(keys, static_cast<std::int64_t>(probe_rows)));
  stride = (keys + kTileKeys - 1) / kTileKeys * kTileKeys;
  spans = static_cast<int>(blocks_for(keys, kSpanKeys));
  together = heads_at_once(in.shape, rows * stride * static_cast<std::int64_t>(sizeof(float)));
  scores = carver.take<float>(together * rows * stride);
  parts = carver.take<float2>(static_cast<std::int64_t>(together) * rows * spans);
  lse = carver.take<float>(static_cast<std::int64_t>(together) * rows);
  columns = carver.take<float>(in.shape.q_heads * keys);
  diagonals = carver.take<float>(in.shape.q_heads * keys);
}

void run_probe(const Tensors& in, const Probe& probe, CUstream_st* stream) {
  for (int head = 0; head < in.shape.q_heads; head += probe.together) {
    const int heads = min(probe.together, in.shape.q_heads - head);
    if (in.shape.element == Element::bf16)
      launch_scores<Element::bf16>(in, probe, head, heads, stream);
    else
      launch_scores<Element::f16>(in, probe, head, heads, stream);
    const std::int64_t rows = static_cast<std::int64_t>(heads) * probe.rows;
    probe_rows_kernel<<<blocks_for(rows, 4), 128, 0, stream>>>(probe, rows);
    check_launch("probe_rows_kernel");
    profile_kernel<<<dim3(blocks_for(in.shape.kv_len, 256), static_cast<unsigned>(heads)), 256, 0, stream>>>(
        probe, in.shape.kv_len, head);
    check_launch("profile_kernel");
  }
}

}  // namespace anchor::kernels
