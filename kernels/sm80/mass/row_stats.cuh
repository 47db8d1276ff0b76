#pragma once

#include <cuda_runtime.h>

#include "anchor/kernels/mass.hpp"
#include "check.hpp"
#include "common/mass/walks.cuh"
#include "dispatch.hpp"
#include "sm80/tiles.cuh"

// Pass 1 of the attention mass: a CTA keeps 128 query rows in registers and streams keys past them, first
// those of the anchor region, then the rest, so that one walk yields the normalisers of both.
namespace anchor::kernels::sm80 {

template <int head_dim>
struct MassConfig {
  using Warp = Warps<head_dim>;
  static constexpr int rows = 64;  ///< of a streamed tile
  static constexpr int stages = 3;
  static constexpr int stage_bytes = rows * head_dim * 2;
  static constexpr int ctas_per_sm = head_dim <= 128 ? 2 : 1;
};

template <Element element, int head_dim>
__global__ void __launch_bounds__(Warps<head_dim>::threads, MassConfig<head_dim>::ctas_per_sm)
    row_stats_kernel(const __grid_constant__ RowStatsParams p, int group_rows, int tiles_per_group) {
  using Config = MassConfig<head_dim>;
  using Warp = Warps<head_dim>;
  constexpr int m_tiles = Warp::m_tiles, n_tiles = Config::rows / 8, k_steps = head_dim / 16;
  using Scalar = typename ElementTraits<element>::Type;
  extern __shared__ __align__(1024) unsigned char shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;

  const int ratio = p.shape.q_heads / p.shape.kv_heads;
  const int row_tiles = gridDim.x / p.shape.q_heads;
  const int kv_head = blockIdx.x / (row_tiles * ratio), in_head = blockIdx.x % (row_tiles * ratio);
  const int tile = row_tiles - 1 - in_head / ratio, head = kv_head * ratio + in_head % ratio;
  const int q_len = static_cast<int>(p.shape.q_len), q_start = static_cast<int>(p.shape.q_start);
  const int group = tile / tiles_per_group;
  const int row_begin = group * group_rows + tile % tiles_per_group * 128;
  const int row_end = min(min(q_len, (group + 1) * group_rows), row_begin + 128);
  if (row_begin >= row_end) return;
  const int last = min(q_start + row_end, static_cast<int>(p.shape.kv_len)) - 1;
  const KeyRuns runs(p, q_start + group * group_rows, q_start + row_begin, last, Config::rows);
  const int warp_first = row_begin + warp * Warp::rows;

  const TileCopy<head_dim, Warp::threads> copy;
  const unsigned ring = shared_address(shared);
  const std::int64_t token_bytes = p.stride_kv_token * 2;
  const char* const k_base =
      static_cast<const char*>(p.k) + kv_head * p.stride_kv_head * 2 + copy.column * 16;
  int run = 0, next = runs.begin_of(0);
  auto copy_next = [&](unsigned stage) {
    while (run < 3 && next >= runs.end_of(run)) next = runs.begin_of(++run);
    if (run < 3) {
#pragma unroll
      for (int row = 0; row < Config::rows; row += copy.step) {
        const int key = next + copy.row + row;
        const bool valid = key < runs.end_of(run);
        copy16(ring + copy.offset() + stage + row * copy.row_bytes, k_base + (valid ? key : 0) * token_bytes,
               valid);
      }
      next += Config::rows;
    }
    commit_copies();
  };
#pragma unroll
  for (int s = 0; s < Config::stages - 1; ++s) copy_next(s * Config::stage_bytes);

  Operand<m_tiles, k_steps> q;
  load_operand(q.registers, static_cast<const Scalar*>(p.q) + head * p.stride_q_head, p.stride_q_token,
               warp_first, row_end);

  float reference[2 * m_tiles], sum[2 * m_tiles], highest[2 * m_tiles];
#pragma unroll
  for (int r = 0; r < 2 * m_tiles; ++r) {
    reference[r] = -1e38f;
    sum[r] = 0;
    highest[r] = -INFINITY;
  }
  const float scale = p.shape.softmax_scale * log2e;
  auto write = [&](float* lse, float* max) {
#pragma unroll
    for (int r = 0; r < 2 * m_tiles; ++r) {
      const float total = quad_sum(sum[r]), top = quad_max(highest[r]);
      const int row = warp_first + lane / 4 + 8 * r;
      if (lane % 4 != 0 || row >= row_end) continue;
      const std::int64_t to = head * p.shape.q_len + row;
      if (lse) lse[to] = total > 0 ? ln2 * (reference[r] + log2f(total)) : -INFINITY;
      if (max) max[to] = top * p.shape.softmax_scale;
    }
  };

  const unsigned k_lane = ring + lane_offset<head_dim>();
  unsigned stage = 0, copy_stage = (Config::stages - 1) * Config::stage_bytes;
  int at_run = 0, key_begin = runs.begin_of(0);
  const int reach = reach_of(p);
#pragma unroll 1
  for (int step = 0; step < runs.tiles; ++step) {
    wait_copies<Config::stages - 2>();
    __syncthreads();
    copy_next(copy_stage);
    copy_stage =
        copy_stage == (Config::stages - 1) * Config::stage_bytes ? 0 : copy_stage + Config::stage_bytes;
    if (step == runs.anchor_tiles) write(p.anchor_lse, p.anchor_max);
    while (key_begin >= runs.end_of(at_run)) key_begin = runs.begin_of(++at_run);
    const int key_end = runs.end_of(at_run);

    if (warp_first < row_end && key_begin <= q_start + warp_first + Warp::rows - 1) {
      float score[m_tiles][n_tiles][4];
      multiply_tile<element>(score, q, k_lane, stage);
      if (key_begin + Config::rows > min(q_start + warp_first + 1, key_end) ||
          q_start + warp_first + Warp::rows - 1 - key_begin > reach) {
#pragma unroll
        for (int r = 0; r < 2 * m_tiles; ++r) {
          const int position = q_start + warp_first + lane / 4 + 8 * r, from = key_begin + lane % 4 * 2;
          const int limit = min(position + 1, key_end) - from, hidden = position - reach - from;
#pragma unroll
          for (int n = 0; n < n_tiles; ++n) {
            if (n * 8 >= limit || n * 8 < hidden) score[r / 2][n][r % 2 * 2] = -INFINITY;
            if (n * 8 + 1 >= limit || n * 8 + 1 < hidden) score[r / 2][n][r % 2 * 2 + 1] = -INFINITY;
          }
        }
      }
      bool rises = false;
#pragma unroll
      for (int r = 0; r < 2 * m_tiles; ++r) {
#pragma unroll
        for (int n = 0; n < n_tiles; ++n)
          highest[r] = fmaxf(highest[r], fmaxf(score[r / 2][n][r % 2 * 2], score[r / 2][n][r % 2 * 2 + 1]));
        rises |= highest[r] * scale > reference[r] + 8;
      }
      if (__any_sync(~0u, rises)) {  // as in sparse_fwd: the reference trails the maximum by at most 2^8
#pragma unroll
        for (int r = 0; r < 2 * m_tiles; ++r) {
          const float raised = fmaxf(reference[r], quad_max(highest[r]) * scale);
          sum[r] *= exp2_approx(reference[r] - raised);
          reference[r] = raised;
        }
      }
#pragma unroll
      for (int r = 0; r < 2 * m_tiles; ++r) {
        float part = 0;  // summed alone first: long sums lose fewer bits
#pragma unroll
        for (int n = 0; n < n_tiles; ++n) {
          part += exp2_approx(fmaf(score[r / 2][n][r % 2 * 2], scale, -reference[r]));
          part += exp2_approx(fmaf(score[r / 2][n][r % 2 * 2 + 1], scale, -reference[r]));
        }
        sum[r] += part;
      }
    }
    key_begin += Config::rows;
    stage = stage == (Config::stages - 1) * Config::stage_bytes ? 0 : stage + Config::stage_bytes;
  }
  wait_copies<0>();
  if (runs.anchor_tiles == runs.tiles) write(p.anchor_lse, p.anchor_max);
  write(p.lse, p.max);
}

template <Element element, int head_dim>
void row_stats(const RowStatsParams& p, cudaStream_t stream) {
  using Config = MassConfig<head_dim>;
  constexpr int shared_bytes = Config::stages * Config::stage_bytes;
  const auto kernel = row_stats_kernel<element, head_dim>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  const std::int64_t group_rows = p.anchor_group > 0 ? p.anchor_group : 128;
  const std::int64_t tiles_per_group = (group_rows + 127) / 128;
  const std::int64_t ctas =
      p.shape.q_heads * ((p.shape.q_len + group_rows - 1) / group_rows) * tiles_per_group;
  if (ctas == 0) return;
  kernel<<<static_cast<unsigned>(ctas), Warps<head_dim>::threads, shared_bytes, stream>>>(
      p, static_cast<int>(group_rows), static_cast<int>(tiles_per_group));
  check_launch("row_stats");
}

}  // namespace anchor::kernels::sm80
