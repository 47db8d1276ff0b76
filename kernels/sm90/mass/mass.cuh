#pragma once

#include <cuda_runtime.h>

#include "check.hpp"
#include "common/mass/walks.cuh"
#include "dispatch.hpp"
#include "sm90/mass/stream.cuh"

// Pass 2 of the attention mass: 192 keys stay, query rows stream past, so that the sum over a group's rows is
// a sum along the accumulators.
namespace anchor::kernels::sm90 {

template <Element element, int head_dim>
__global__ void __launch_bounds__(stream_threads, 1)
    mass_kernel(const __grid_constant__ MassParams p, float* cells, int groups_per_cta, int spans) {
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& s = *reinterpret_cast<StreamShared<head_dim>*>(memory);
  const int q_len = static_cast<int>(p.shape.q_len), kv_len = static_cast<int>(p.shape.kv_len);
  const int q_start = static_cast<int>(p.shape.q_start), group_rows = static_cast<int>(p.group_rows);
  const int groups = (q_len + group_rows - 1) / group_rows;
  const int key_tiles = (kv_len + resident_rows - 1) / resident_rows;
  const int head = blockIdx.x / (key_tiles * spans), in_head = blockIdx.x % (key_tiles * spans);
  const int span = spans - 1 - in_head / key_tiles, key_tile = in_head % key_tiles;
  const int kv_head = head / (p.shape.q_heads / p.shape.kv_heads);
  const int key_begin = key_tile * resident_rows;
  const int group_begin = span * groups_per_cta, group_end = min(groups, group_begin + groups_per_cta);

  const auto produce = [&] {
    const StreamCopy<head_dim> copy(static_cast<const unsigned short*>(p.q) + head * p.stride_q_head,
                                    p.stride_q_token);
    const float* const lse = p.lse + head * p.shape.q_len;
    RowWalk walk(p, group_begin, group_end, key_begin, stream_rows);
    const auto shift_of_row = [&] {  // a row past the end of its group weighs nothing
      const int row = walk.done() ? q_len : walk.begin() + static_cast<int>(threadIdx.x);
      return !walk.done() && row < walk.end() ? lse[row] * log2e : INFINITY;
    };
    StreamSlot slot;
    slot.parity = 1;  // the first wait on an empty stage passes at once
    float shift = shift_of_row();
    while (!walk.done()) {
      barrier_wait(shared_address(&s.empty[slot.stage]), slot.parity);
      copy.copy(shared_address(s.tile[slot.stage]), walk.begin(), walk.end());
      s.shift[slot.stage][threadIdx.x] = shift;
      barrier_arrive(shared_address(&s.full[slot.stage]));
      barrier_arrive_after_copies(shared_address(&s.full[slot.stage]));
      slot.next();
      walk.next();
      shift = shift_of_row();
    }
  };

  const auto consume = [&] {
    const int lane = threadIdx.x % 32;
    const int warp_key = key_begin + (threadIdx.x / 32 - 4) * 16, key = warp_key + lane / 4;  // and key + 8
    unsigned k[1][head_dim / 16][4];
    load_operand(k, static_cast<const unsigned short*>(p.k) + kv_head * p.stride_kv_head, p.stride_kv_token,
                 warp_key, kv_len);
    const float scale = p.shape.softmax_scale * log2e;
    const int reach = reach_of(p);
    RowWalk walk(p, group_begin, group_end, key_begin, stream_rows);
    int tiles = 0;
    for (RowWalk count = walk; !count.done(); count.next()) ++tiles;

    float mass[2] = {};
    int group = group_begin;
    const auto finish_groups = [&](int until) {
      for (; group < until; ++group) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const float total = quad_sum(mass[h]);
          mass[h] = 0;
          if (p.column_mass && lane % 4 == 0 && key + 8 * h < kv_len)
            p.column_mass[(static_cast<std::int64_t>(head) * groups + group) * kv_len + key + 8 * h] = total;
        }
      }
    };

    consume_stream<element, head_dim>(
        s, k, tiles, (warp_key - key_begin) / 64 * 64 + key_begin < kv_len,
        [&](float(&score)[64], int stage) {
          finish_groups(walk.group);
          const int row_begin = walk.begin(), row_end = walk.end();
          walk.next();
          if (q_start + row_begin < warp_key + 15 ||
              q_start + row_begin + stream_rows - 1 - warp_key > reach) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
              const int first =
                  key + 8 * h - (q_start + row_begin) - lane % 4 * 2;  // first row that sees the key
#pragma unroll
              for (int n = 0; n < 16; ++n) {
                if (n * 8 < first || n * 8 - first > reach) score[4 * n + 2 * h] = -INFINITY;
                if (n * 8 + 1 < first || n * 8 + 1 - first > reach) score[4 * n + 2 * h + 1] = -INFINITY;
              }
            }
          }
          float part[2][2];  // [cell of 64 rows][key]
#pragma unroll
          for (int c = 0; c < 2; ++c) {
            float sum[2][2] = {};
#pragma unroll
            for (int n = 8 * c; n < 8 * c + 8; ++n) {
              const float2 shift = *reinterpret_cast<const float2*>(&s.shift[stage][n * 8 + lane % 4 * 2]);
#pragma unroll
              for (int h = 0; h < 2; ++h) {
                sum[h][0] += exp2_approx(__fmaf_rn(score[4 * n + 2 * h], scale, -shift.x));
                sum[h][1] += exp2_approx(__fmaf_rn(score[4 * n + 2 * h + 1], scale, -shift.y));
              }
            }
            part[c][0] = sum[0][0] + sum[0][1];
            part[c][1] = sum[1][0] + sum[1][1];
          }
          mass[0] += part[0][0] + part[1][0];
          mass[1] += part[0][1] + part[1][1];

          if (cells) {
            const int row_cells = (q_len + cell_rows - 1) / cell_rows,
                      key_cells = (kv_len + cell_keys - 1) / cell_keys;
#pragma unroll
            for (int c = 0; c < 2; ++c) {
              float cell = (key < kv_len ? part[c][0] : 0) + (key + 8 < kv_len ? part[c][1] : 0);
#pragma unroll
              for (int bit = 1; bit < 32; bit *= 2) cell += __shfl_xor_sync(~0u, cell, bit);
              if (lane == 0 && warp_key < kv_len && row_begin + c * cell_rows < row_end) {
                const std::int64_t row_cell =
                    static_cast<std::int64_t>(head) * row_cells + row_begin / cell_rows + c;
                cells[row_cell * key_cells + warp_key / cell_keys] = cell;
              }
            }
          }
        });
    finish_groups(group_end);
  };
  run_stream(s, 256, produce, consume);
}

template <Element element, int head_dim>
void attention_mass(const MassParams& p, void* workspace, cudaStream_t stream) {
  auto* const cells = static_cast<float*>(p.block_mass ? workspace : nullptr);
  constexpr int shared_bytes = sizeof(StreamShared<head_dim>);
  const auto kernel = mass_kernel<element, head_dim>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  const std::int64_t key_tiles = (p.shape.kv_len + resident_rows - 1) / resident_rows;
  const std::int64_t together = groups_per_cta(p, key_tiles);
  const std::int64_t spans = ((p.shape.q_len + p.group_rows - 1) / p.group_rows + together - 1) / together;
  kernel<<<static_cast<unsigned>(p.shape.q_heads * spans * key_tiles), stream_threads, shared_bytes,
           stream>>>(p, cells, static_cast<int>(together), static_cast<int>(spans));
  if (cells) add_cells(p, cells, stream);
  check_launch("attention_mass");
}

}  // namespace anchor::kernels::sm90
