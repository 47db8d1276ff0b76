#pragma once

#include <cuda_runtime.h>

#include "anchor/kernels/params.hpp"
#include "check.hpp"
#include "dispatch.hpp"
#include "sm80/sparse_fwd/gather.cuh"
#include "sm80/sparse_fwd/softmax.cuh"

// Attention under a plan with mma.sync: one CTA takes up to 128 query rows of one plan row and walks the
// row's keys, gathered by index through cp.async into a ring of swizzled tiles. Queries, scores and output
// stay in registers.
namespace anchor::kernels::sm80 {

/// The query rows [begin, end) of one head that a CTA takes; none if end <= begin.
struct RowTile {
  int head, kv_head, group, begin, end;

  /// KV heads are outermost, so that one head's keys stay in L2; long tiles come first, so that the last CTAs
  /// are short.
  __device__ __forceinline__ RowTile(const SparseFwdParams& p, int tiles_per_group) {
    const int ratio = p.shape.q_heads / p.shape.kv_heads;
    const int tiles = static_cast<int>(p.plan.groups) * tiles_per_group;
    kv_head = static_cast<int>(blockIdx.x / (tiles * ratio));
    const int in_head = blockIdx.x % (tiles * ratio), tile = tiles - 1 - in_head / ratio;
    head = kv_head * ratio + in_head % ratio;
    group = tile / tiles_per_group;
    const int group_rows = p.plan.q_tile * p.plan.tiles_per_row, q_len = static_cast<int>(p.shape.q_len);
    begin = group * group_rows + tile % tiles_per_group * tile_rows;
    end = min(min(q_len, (group + 1) * group_rows), begin + tile_rows);
  }
};

/// The rows of one warp, [first, end), and what they see. Rows past the end repeat the last.
template <int head_dim>
struct WarpRows {
  using Keys = PublishedKeys<head_dim>;
  Visibility visible;
  int first, end;
  int first_position, last_position;

  __device__ __forceinline__ WarpRows(const SparseFwdParams& p, const RowTile& tile)
      : visible{p.plan, p.plan.local ? p.plan.local[tile.head] : 0, static_cast<int>(p.shape.sliding_window)},
        first(tile.begin + static_cast<int>(threadIdx.x) / 32 * Warps<head_dim>::rows),
        end(tile.end),
        first_position(static_cast<int>(p.shape.q_start) + first),
        last_position(min(static_cast<int>(p.shape.q_start) + end, first_position + Warps<head_dim>::rows) -
                      1) {}

  __device__ __forceinline__ bool idle() const { return first >= end; }

  /// Do some (all) of the rows see some (all) of a tile's keys?
  __device__ __forceinline__ void look_at(const Keys& keys, int tile, bool& some, bool& all) const {
    some = false, all = true;
    if (visible.plan.local || visible.sliding > 0) {
      const int* const indices = keys.indices_of(tile);
#pragma unroll
      for (int n = threadIdx.x % 32; n < Keys::Config::keys; n += 32) {
        some |= visible.to_some(indices[n], first_position, last_position);
        all &= visible.to_all(indices[n], first_position, last_position);
      }
      some = __any_sync(~0u, some), all = __all_sync(~0u, all);
    } else {
#pragma unroll
      for (int n = 0; n < Keys::ranges_a_tile; ++n) {
        const int2 range = keys.range_of(tile, n);
        some |= range.x <= last_position;
        all &= range.y <= first_position;
      }
    }
  }

  /// Hides from every row the keys that it does not see.
  template <int m_tiles, int n_tiles>
  __device__ __forceinline__ void mask(float (&score)[m_tiles][n_tiles][4], const Keys& keys,
                                       int tile) const {
    const int* const indices = keys.indices_of(tile);
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < n_tiles; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int key = indices[Keys::place(n * 8 + lane % 4 * 2 + e)];
#pragma unroll
        for (int r = 0; r < 2 * m_tiles; ++r) {
          const int position = first_position + lane / 4 + 8 * r;
          if (!visible.to_some(key, position, position)) score[r / 2][n][r % 2 * 2 + e] = -INFINITY;
        }
      }
    }
  }
};

template <Element element, int head_dim>
__global__ void __launch_bounds__(SparseFwdConfig<head_dim>::threads, SparseFwdConfig<head_dim>::ctas_per_sm)
    sparse_fwd_kernel(const __grid_constant__ SparseFwdParams p, int tiles_per_group) {
  using Config = SparseFwdConfig<head_dim>;
  using Rows = Softmax<element, head_dim>;
  using Scalar = typename ElementTraits<element>::Type;
  constexpr int m_tiles = Rows::m_tiles, k_steps = head_dim / 16;
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ KeyList list;
  __shared__ PublishedKeys<head_dim> keys;
  __shared__ uint4 parked[m_tiles * Config::parked * Config::threads + 1];

  const int lane = threadIdx.x % 32;
  const RowTile tile(p, tiles_per_group);
  if (tile.begin >= tile.end) return;
  const int tile_last =
      min(static_cast<int>(p.shape.q_start) + tile.end, static_cast<int>(p.shape.kv_len)) - 1;
  if (threadIdx.x < 32) list.fill(p.plan, tile.head * p.plan.groups + tile.group, tile_last, Config::keys);
  __syncthreads();
  const int tiles_to_do = list.tiles;
  const WarpRows<head_dim> rows(p, tile);

  const unsigned ring = shared_address(shared);
  WindowEntries<head_dim> entries;
  int entry = threadIdx.x;
  const auto read = [&] { read_window(entries, list, entry, p.plan.kv_tile); };
  const auto publish = [&] {
    publish_window(keys, entries, list, entry, p.plan.kv_tile, tile_last,
                   static_cast<unsigned>(p.stride_kv_token * 2));
    entry += Config::window;
  };
  const KeyCopier<head_dim> copier(p, tile.kv_head, keys, ring);
  read();
  publish();
  read();  // the threads read the window after next while the next is used
  __syncthreads();
#pragma unroll
  for (int s = 0; s < Config::stages - 1; ++s) {
    if (s < tiles_to_do) copier.copy(s, s * Config::stage_bytes);
    commit_copies();
  }

  Operand<m_tiles, k_steps, Config::parked> q;
  load_operand(q.registers, static_cast<const Scalar*>(p.q) + tile.head * p.stride_q_head, p.stride_q_token,
               rows.first, rows.end);
  q.park(parked);
  Rows softmax(p.shape.softmax_scale);
  const auto write_lse = [&] {
    if (p.lse) softmax.write_lse(p.lse + tile.head * p.shape.q_len, rows.first, rows.end);
  };

  const unsigned k_lane = ring + lane_offset<head_dim>();
  const unsigned v_lane =
      ring + Config::tile_bytes + (lane & 15) * Config::row_bytes + (((lane >> 4) ^ (lane & 7)) << 4);
  unsigned stage = 0, copy_stage = (Config::stages - 1) * Config::stage_bytes;
#pragma unroll 1
  for (int at = 0; at < tiles_to_do; ++at) {
    wait_copies<Config::stages - 2>();
    __syncthreads();
    if (at % Config::window_tiles == 0) {
      publish();
      read();
    }
    if (at + Config::stages - 1 < tiles_to_do) copier.copy(at + Config::stages - 1, copy_stage);
    commit_copies();
    copy_stage = Config::next_stage(copy_stage);
    if (at == list.main_tiles) write_lse();  // what follows counts twice in the output, once in lse

    bool some, all;
    rows.look_at(keys, at, some, all);
    if (!rows.idle() && some) {
      typename Rows::Scores score;
      multiply_tile<element>(score, q, k_lane, stage);
      if (!all) rows.mask(score, keys, at);
      softmax.raise(score);
      softmax.add(score, v_lane + stage);
    }
    stage = Config::next_stage(stage);
  }
  wait_copies<0>();
  if (list.main_tiles == tiles_to_do) write_lse();
  softmax.write_out(p, tile.head, rows.first, rows.end);
}

template <Element element, int head_dim>
void sparse_fwd(const SparseFwdParams& p, void*, cudaStream_t stream) {
  using Config = SparseFwdConfig<head_dim>;
  const auto kernel = sparse_fwd_kernel<element, head_dim>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Config::shared_bytes),
        "cudaFuncSetAttribute");
  const int group_rows = p.plan.q_tile * p.plan.tiles_per_row;
  const int tiles_per_group = (group_rows + tile_rows - 1) / tile_rows;
  const std::int64_t ctas = p.shape.q_heads * p.plan.groups * tiles_per_group;
  if (ctas == 0) return;
  kernel<<<static_cast<unsigned>(ctas), Config::threads, Config::shared_bytes, stream>>>(p, tiles_per_group);
  check_launch("sparse_fwd");
}

}  // namespace anchor::kernels::sm80
