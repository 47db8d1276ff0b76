#pragma once

#include <cuda_runtime.h>

#include "anchor/kernels/mass.hpp"
#include "check.hpp"
#include "common/mass/walks.cuh"
#include "dispatch.hpp"
#include "sm80/mass/row_stats.cuh"
#include "sm80/tiles.cuh"

// Pass 2 of the attention mass, with the operands' roles exchanged: a CTA keeps 128 keys in registers and
// streams tiles of 64 query rows past them, so that the sum over a group's rows is a sum along the
// accumulators.
namespace anchor::kernels::sm80 {

template <Element element, int head_dim>
__global__ void __launch_bounds__(Warps<head_dim>::threads, MassConfig<head_dim>::ctas_per_sm)
    mass_kernel(const __grid_constant__ MassParams p, float* cells, int groups_per_cta, int spans) {
  using Config = MassConfig<head_dim>;
  using Warp = Warps<head_dim>;
  constexpr int m_tiles = Warp::m_tiles, n_tiles = Config::rows / 8, k_steps = head_dim / 16;
  using Scalar = typename ElementTraits<element>::Type;
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ __align__(16) float row_lse[Config::stages][Config::rows];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;

  const int q_len = static_cast<int>(p.shape.q_len), kv_len = static_cast<int>(p.shape.kv_len);
  const int q_start = static_cast<int>(p.shape.q_start), group_rows = static_cast<int>(p.group_rows);
  const int groups = (q_len + group_rows - 1) / group_rows;
  const int key_tiles = (kv_len + 127) / 128, key_cells = (kv_len + cell_keys - 1) / cell_keys;
  const int head = blockIdx.x / (key_tiles * spans), in_head = blockIdx.x % (key_tiles * spans);
  const int span = in_head / key_tiles, key_tile = in_head % key_tiles;
  const int kv_head = head / (p.shape.q_heads / p.shape.kv_heads);
  const int key_begin = key_tile * 128, warp_key = key_begin + warp * Warp::rows;
  const int group_begin = span * groups_per_cta, group_end = min(groups, group_begin + groups_per_cta);

  auto write_columns = [&](int group, const float(&mass)[2 * m_tiles]) {
    if (!p.column_mass) return;
#pragma unroll
    for (int r = 0; r < 2 * m_tiles; ++r) {
      const float total = quad_sum(mass[r]);
      const int key = warp_key + lane / 4 + 8 * r;
      if (lane % 4 == 0 && key < kv_len)
        p.column_mass[(static_cast<std::int64_t>(head) * groups + group) * kv_len + key] = total;
    }
  };

  const TileCopy<head_dim, Warp::threads> copy;
  const unsigned ring = shared_address(shared);
  const std::int64_t token_bytes = p.stride_q_token * 2;
  const char* const q_base = static_cast<const char*>(p.q) + head * p.stride_q_head * 2 + copy.column * 16;
  const float* const lse = p.lse + head * p.shape.q_len;
  RowWalk ahead(p, group_begin, group_end, key_begin, Config::rows), walk = ahead;
  auto copy_next = [&](int stage) {
    if (!ahead.done()) {
      const int begin = ahead.begin(), end = ahead.end();
#pragma unroll
      for (int row = 0; row < Config::rows; row += copy.step) {
        const int at = begin + copy.row + row;
        copy16(ring + copy.offset() + stage * Config::stage_bytes + row * copy.row_bytes,
               q_base + (at < end ? at : 0) * token_bytes, at < end);
      }
      if (threadIdx.x < Config::rows) {
        const int at = begin + static_cast<int>(threadIdx.x);
        copy4(shared_address(&row_lse[stage][threadIdx.x]), lse + (at < end ? at : 0), at < end);
      }
      ahead.next();
    }
    commit_copies();
  };
#pragma unroll
  for (int s = 0; s < Config::stages - 1; ++s) copy_next(s);

  Operand<m_tiles, k_steps> keys;
  load_operand(keys.registers, static_cast<const Scalar*>(p.k) + kv_head * p.stride_kv_head,
               p.stride_kv_token, warp_key, kv_len);

  const float scale = p.shape.softmax_scale * log2e;
  const int reach = reach_of(p);
  const unsigned q_lane = ring + lane_offset<head_dim>();
  int stage = 0, copy_stage = Config::stages - 1;
  float mass[2 * m_tiles] = {};
  int group = group_begin;
  auto finish_groups = [&](int until) {
    for (; group < until; ++group) {
      write_columns(group, mass);
#pragma unroll
      for (int r = 0; r < 2 * m_tiles; ++r) mass[r] = 0;
    }
  };
#pragma unroll 1
  for (; !walk.done(); walk.next()) {
    finish_groups(walk.group);
    wait_copies<Config::stages - 2>();
    __syncthreads();
    copy_next(copy_stage);
    copy_stage = copy_stage == Config::stages - 1 ? 0 : copy_stage + 1;

    float score[m_tiles][n_tiles][4];
    multiply_tile<element>(score, keys, q_lane, stage * Config::stage_bytes);
    const int row_begin = walk.begin(), rows_left = walk.end() - row_begin;
    if (q_start + row_begin < warp_key + Warp::rows - 1 || rows_left < Config::rows ||
        q_start + row_begin + Config::rows - 1 - warp_key > reach) {
#pragma unroll
      for (int r = 0; r < 2 * m_tiles; ++r) {
        const int first = warp_key + lane / 4 + 8 * r - (q_start + row_begin);  // first row that sees the key
#pragma unroll
        for (int n = 0; n < n_tiles; ++n) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const int row = n * 8 + lane % 4 * 2 + e;
            if (row < first || row >= rows_left || row - first > reach)
              score[r / 2][n][r % 2 * 2 + e] = -INFINITY;
          }
        }
      }
    }
    float part[2 * m_tiles] = {};
#pragma unroll
    for (int n = 0; n < n_tiles; ++n) {
      const float2 base = *reinterpret_cast<const float2*>(&row_lse[stage][n * 8 + lane % 4 * 2]);
      const float low = base.x * log2e, high = base.y * log2e;
#pragma unroll
      for (int r = 0; r < 2 * m_tiles; ++r) {
        part[r] += exp2_approx(fmaf(score[r / 2][n][r % 2 * 2], scale, -low));
        part[r] += exp2_approx(fmaf(score[r / 2][n][r % 2 * 2 + 1], scale, -high));
      }
    }
#pragma unroll
    for (int r = 0; r < 2 * m_tiles; ++r) mass[r] += part[r];

    if (cells) {
      const std::int64_t row_cells = (p.shape.q_len + cell_rows - 1) / cell_rows;
      float* const to = cells + (head * row_cells + row_begin / cell_rows) * key_cells + warp_key / cell_keys;
#pragma unroll
      for (int m = 0; m < m_tiles; ++m) {
        float cell = 0;  // keys past the end repeat the last one
#pragma unroll
        for (int r = 2 * m; r < 2 * m + 2; ++r)
          if (warp_key + lane / 4 + 8 * r < kv_len) cell += part[r];
#pragma unroll
        for (int bit = 1; bit < 32; bit *= 2) cell += __shfl_xor_sync(~0u, cell, bit);
        if (lane == 0 && warp_key + m * cell_keys < kv_len) to[m] = cell;
      }
    }
    stage = stage == Config::stages - 1 ? 0 : stage + 1;
  }
  finish_groups(group_end);
  wait_copies<0>();
}

template <Element element, int head_dim>
void attention_mass(const MassParams& p, void* workspace, cudaStream_t stream) {
  using Config = MassConfig<head_dim>;
  auto* const cells = static_cast<float*>(p.block_mass ? workspace : nullptr);
  constexpr int shared_bytes = Config::stages * Config::stage_bytes;
  const auto kernel = mass_kernel<element, head_dim>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  const std::int64_t key_tiles = (p.shape.kv_len + 127) / 128, together = groups_per_cta(p, key_tiles);
  const std::int64_t spans = ((p.shape.q_len + p.group_rows - 1) / p.group_rows + together - 1) / together;
  const std::int64_t ctas = p.shape.q_heads * spans * key_tiles;
  if (ctas == 0) return;
  kernel<<<static_cast<unsigned>(ctas), Warps<head_dim>::threads, shared_bytes, stream>>>(
      p, cells, static_cast<int>(together), static_cast<int>(spans));
  if (cells) add_cells(p, cells, stream);
  check_launch("attention_mass");
}

}  // namespace anchor::kernels::sm80
