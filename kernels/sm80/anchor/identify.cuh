#pragma once

#include <cuda_runtime.h>

#include <algorithm>

#include "check.hpp"
#include "common/anchor/prepare.hpp"
#include "common/anchor/select.cuh"
#include "dispatch.hpp"
#include "sm80/mass/row_stats.cuh"
#include "sm80/tiles.cuh"

// AnchorAttention's planner with mma.sync: the steps of the Hopper one, with row anchors from the mass
// kernel's first pass and a plain tiled product for the scores.
namespace anchor::kernels::sm80 {

template <int head_dim>
struct IdentifyConfig {
  static constexpr int threads = 128, keys = select_keys;
  static constexpr int stages = head_dim <= 128 ? 2 : 1;  ///< 64 KiB each at 256 dimensions
  static constexpr int parked = head_dim <= 128 ? 0 : head_dim / 16;
  static constexpr int stage_bytes = keys * head_dim * 2;
};

/// One CTA: 64 pooled rows of one KV head against a segment of keys.
template <Element element, int head_dim, bool critical>
__global__ void __launch_bounds__(128)
    identify_kernel(const __grid_constant__ SelectParams<critical> p,
                    const __grid_constant__ AnchorGroups groups, const __grid_constant__ AnchorLayout layout,
                    int kv_begin) {
  using Config = IdentifyConfig<head_dim>;
  constexpr int k_steps = head_dim / 16;
  extern __shared__ __align__(1024) unsigned char shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int kv = kv_begin + static_cast<int>(blockIdx.z);
  const std::int64_t tile = blockIdx.y;
  const std::int64_t begin =
      max(groups.list_begin() / Config::keys * Config::keys, std::int64_t{blockIdx.x} * layout.segment_keys);
  const std::int64_t end =
      min(last_candidate(groups, layout, tile, 1), (std::int64_t{blockIdx.x} + 1) * layout.segment_keys);
  if (begin >= end) return;

  // Key 32 q + 2 j + e of a tile goes to row 8 j + 2 q + e: see AnchorSelect.
  const TileCopy<head_dim, Config::threads> copy;
  const unsigned ring = shared_address(shared);
  const char* const k = static_cast<const char*>(p.k) + kv * p.stride_kv_head * 2 + copy.column * 16;
  auto copy_tile = [&](std::int64_t first, int stage) {
    if (first < end) {
#pragma unroll
      for (int i = 0; i < Config::keys; i += copy.step) {
        const int row = copy.row + i;
        const std::int64_t key = first + row % 8 / 2 * 32 + row / 8 * 2 + row % 2;
        const bool valid = key < p.shape.kv_len;
        copy16(ring + stage * Config::stage_bytes + copy.offset(i),
               k + (valid ? key : 0) * p.stride_kv_token * 2, valid);
      }
    }
    commit_copies();
  };
  copy_tile(begin, 0);

  Operand<1, k_steps> high;
  Operand<1, k_steps, Config::parked> low;
  const std::int64_t fragment = ((kv * layout.tiles + tile) * 4 + warp) * k_steps * 32 + lane;
#pragma unroll
  for (int step = 0; step < k_steps; ++step) {
    const uint4 h = static_cast<const uint4*>(layout.high)[fragment + step * 32];
    const uint4 l = static_cast<const uint4*>(layout.low)[fragment + step * 32];
    high.registers[0][step][0] = h.x, high.registers[0][step][1] = h.y;
    high.registers[0][step][2] = h.z, high.registers[0][step][3] = h.w;
    low.registers[0][step][0] = l.x, low.registers[0][step][1] = l.y;
    low.registers[0][step][2] = l.z, low.registers[0][step][3] = l.w;
  }
  __shared__ uint4 parked[Config::parked * Config::threads + 1];
  low.park(parked);
  AnchorSelect<critical> select(p, groups, layout, kv_begin, kv, tile, warp);

  const unsigned k_lane = ring + lane_offset<head_dim>();
  int stage = 0;
  for (std::int64_t first = begin; first < end; first += Config::keys) {
    if (Config::stages > 1) {
      copy_tile(first + Config::keys, stage ^ 1);
      wait_copies<1>();
    } else {
      wait_copies<0>();
    }
    __syncthreads();
    float score[1][Config::keys / 8][4];
    multiply_tile<element>(score, low, k_lane, stage * Config::stage_bytes);
    multiply_tile<element, true>(score, high, k_lane, stage * Config::stage_bytes);
    select.run(p, groups, layout, reinterpret_cast<float(&)[64]>(score), first);
    __syncthreads();
    if (Config::stages > 1)
      stage ^= 1;
    else
      copy_tile(first + Config::keys, 0);
  }
  wait_copies<0>();
  select.finish(p, groups, layout, blockIdx.x);
}

template <Element element, int head_dim, bool critical>
void run_identify(const AnchorParams& params, const AnchorGroups& groups, const AnchorLayout& layout,
                  int kv_begin, int kv_end, cudaStream_t stream) {
  using Config = IdentifyConfig<head_dim>;
  constexpr int shared_bytes = Config::stages * Config::stage_bytes;
  const auto kernel = identify_kernel<element, head_dim, critical>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  const dim3 grid(static_cast<unsigned>(layout.segments), static_cast<unsigned>(layout.tiles),
                  static_cast<unsigned>(kv_end - kv_begin));
  kernel<<<grid, Config::threads, shared_bytes, stream>>>(params, groups, layout, kv_begin);
  check_launch("identify_kernel");
}

template <Element element, int head_dim>
void anchor_plan(const AnchorParams& params, void* workspace, cudaStream_t stream) {
  const AnchorGroups groups(params);
  AnchorLayout layout(params, workspace);
  run_anchor_region(params, groups, layout, nullptr, stream);

  if (params.row_anchors) layout.row_anchors = params.row_anchors;
  row_stats<element, head_dim>(region_stats(params, groups, layout), stream);

  run_pool(params, layout, stream);
  if (params.critical) {
    run_identify<element, head_dim, true>(params, groups, layout, 0, params.shape.kv_heads, stream);
    return;
  }
  for (int kv = 0; kv < params.shape.kv_heads; kv += layout.kv_heads_at_once) {
    const int end = std::min(kv + layout.kv_heads_at_once, params.shape.kv_heads);
    clear_bitmaps(layout, end - kv, stream);
    run_identify<element, head_dim, false>(params, groups, layout, kv, end, stream);
    run_compact(params, groups, layout, kv, end, nullptr, stream);
  }
}

}  // namespace anchor::kernels::sm80
