#pragma once

#include <cuda_runtime.h>

#include "check.hpp"
#include "common/mass/walks.cuh"
#include "dispatch.hpp"
#include "sm90/mass/stream.cuh"

// Pass 1 of the attention mass: 192 query rows stay, keys stream past, those of the anchor region first, so
// that one walk yields the normalisers of both.
namespace anchor::kernels::sm90 {

template <Element element, int head_dim>
__global__ void __launch_bounds__(stream_threads, 1)
    row_stats_kernel(const __grid_constant__ RowStatsParams p, int group_rows, int tiles_per_group) {
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& s = *reinterpret_cast<StreamShared<head_dim>*>(memory);
  const int ratio = p.shape.q_heads / p.shape.kv_heads;
  const int row_tiles = gridDim.x / p.shape.q_heads;
  const int kv_head = blockIdx.x / (row_tiles * ratio), in_head = blockIdx.x % (row_tiles * ratio);
  const int tile = row_tiles - 1 - in_head / ratio, head = kv_head * ratio + in_head % ratio;
  const int q_len = static_cast<int>(p.shape.q_len), q_start = static_cast<int>(p.shape.q_start);
  const int group = tile / tiles_per_group;
  const int row_begin = group * group_rows + tile % tiles_per_group * resident_rows;
  const int row_end = min(min(q_len, (group + 1) * group_rows), row_begin + resident_rows);
  if (row_begin >= row_end) return;
  const int last = min(q_start + row_end, static_cast<int>(p.shape.kv_len)) - 1;
  const KeyRuns runs(p, q_start + group * group_rows, q_start + row_begin, last, stream_rows);
  const auto* const keys = static_cast<const unsigned short*>(p.k) + kv_head * p.stride_kv_head;

  const auto produce = [&] {
    const StreamCopy<head_dim> copy(keys, p.stride_kv_token);
    StreamSlot slot;
    slot.parity = 1;  // the first wait on an empty stage passes at once
    for (int run = 0; run < 3; ++run) {
      for (int key = runs.begin_of(run); key < runs.end_of(run); key += stream_rows) {
        barrier_wait(shared_address(&s.empty[slot.stage]), slot.parity);
        copy.copy(shared_address(s.tile[slot.stage]), key, runs.end_of(run));
        barrier_arrive_after_copies(shared_address(&s.full[slot.stage]));
        slot.next();
      }
    }
  };

  const auto consume = [&] {
    const int lane = threadIdx.x % 32;
    const int warp_first = row_begin + (threadIdx.x / 32 - 4) * 16,
              row = warp_first + lane / 4;  // and row + 8
    unsigned q[1][head_dim / 16][4];
    load_operand(q, static_cast<const unsigned short*>(p.q) + head * p.stride_q_head, p.stride_q_token,
                 warp_first, row_end);
    const float scale = p.shape.softmax_scale * log2e;
    float reference[2] = {-1e38f, -1e38f}, sum[2] = {}, highest[2] = {-INFINITY, -INFINITY};
    const auto write = [&](float* lse, float* max) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float total = quad_sum(sum[h]), top = quad_max(highest[h]);
        if (lane % 4 != 0 || row + 8 * h >= row_end) continue;
        const std::int64_t to = head * p.shape.q_len + row + 8 * h;
        if (lse) lse[to] = total > 0 ? ln2 * (reference[h] + log2f(total)) : -INFINITY;
        if (max) max[to] = top * p.shape.softmax_scale;
      }
    };

    int at = 0, run = 0, key = runs.begin_of(0);
    const int reach = reach_of(p);
    consume_stream<element, head_dim>(
        s, q, runs.tiles, (warp_first - row_begin) / 64 * 64 + row_begin < row_end,
        [&](float(&score)[64], int) {
          if (at++ == runs.anchor_tiles) write(p.anchor_lse, p.anchor_max);
          while (key >= runs.end_of(run)) key = runs.begin_of(++run);
          const int end = runs.end_of(run);
          if (key + stream_rows > min(q_start + warp_first + 1, end) ||
              q_start + warp_first + 15 - key > reach) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
              const int position = q_start + row + 8 * h, from = key + lane % 4 * 2;
              const int limit = min(position + 1, end) - from, hidden = position - reach - from;
#pragma unroll
              for (int n = 0; n < 16; ++n) {
                if (n * 8 >= limit || n * 8 < hidden) score[4 * n + 2 * h] = -INFINITY;
                if (n * 8 + 1 >= limit || n * 8 + 1 < hidden) score[4 * n + 2 * h + 1] = -INFINITY;
              }
            }
          }
          key += stream_rows;

          // Weights are relative to a reference that only has to keep them finite: it is the maximum of the
          // first tile, and follows the maximum where that is wanted or where a sum grows beyond 2^100.
          const bool follow = at == 1 || p.max || (p.anchor_max && at <= runs.anchor_tiles);
          const auto raise = [&] {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
#pragma unroll
              for (int n = 0; n < 16; ++n)
                highest[h] = fmaxf(highest[h], fmaxf(score[4 * n + 2 * h], score[4 * n + 2 * h + 1]));
            }
            if (__any_sync(~0u,
                           highest[0] * scale > reference[0] + 8 || highest[1] * scale > reference[1] + 8)) {
#pragma unroll
              for (int h = 0; h < 2; ++h) {
                const float raised = fmaxf(reference[h], quad_max(highest[h]) * scale);
                sum[h] *= exp2_approx(reference[h] - raised);
                reference[h] = raised;
              }
            }
          };
          float part[2];  // summed alone first: long sums lose fewer bits
          const auto weigh = [&] {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
              float even = 0, odd = 0;
#pragma unroll
              for (int n = 0; n < 16; ++n) {
                even += exp2_approx(__fmaf_rn(score[4 * n + 2 * h], scale, -reference[h]));
                odd += exp2_approx(__fmaf_rn(score[4 * n + 2 * h + 1], scale, -reference[h]));
              }
              part[h] = even + odd;
            }
          };
          if (follow) raise();
          weigh();
          if (__any_sync(~0u, !(fmaxf(part[0], part[1]) < 0x1p100f))) {
            raise();
            weigh();
          }
          sum[0] += part[0];
          sum[1] += part[1];
        });
    if (runs.anchor_tiles == runs.tiles) write(p.anchor_lse, p.anchor_max);
    write(p.lse, p.max);
  };
  run_stream(s, 128, produce, consume);
}

template <Element element, int head_dim>
void row_stats(const RowStatsParams& p, cudaStream_t stream) {
  constexpr int shared_bytes = sizeof(StreamShared<head_dim>);
  const auto kernel = row_stats_kernel<element, head_dim>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  const std::int64_t group_rows = p.anchor_group > 0 ? p.anchor_group : resident_rows;
  const std::int64_t tiles_per_group = (group_rows + resident_rows - 1) / resident_rows;
  const std::int64_t ctas =
      p.shape.q_heads * ((p.shape.q_len + group_rows - 1) / group_rows) * tiles_per_group;
  kernel<<<static_cast<unsigned>(ctas), stream_threads, shared_bytes, stream>>>(
      p, static_cast<int>(group_rows), static_cast<int>(tiles_per_group));
  check_launch("row_stats");
}

}  // namespace anchor::kernels::sm90
