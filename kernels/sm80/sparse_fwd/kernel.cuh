#pragma once

#include <cuda_runtime.h>

#include <climits>

#include "anchor/kernels/params.hpp"
#include "check.hpp"
#include "dispatch.hpp"
#include "sm80/sparse_fwd/key_list.cuh"
#include "sm80/tiles.cuh"

// Attention under a plan with mma.sync: one CTA takes up to 128 query rows of one plan row and walks the
// row's keys, gathered by index through cp.async into a ring of swizzled tiles. Queries, scores and output
// stay in registers.
namespace anchor::kernels::sm80 {

constexpr int tile_rows = 128;

template <int head_dim>
struct SparseFwdConfig {
  static constexpr int threads = Warps<head_dim>::threads;
  static constexpr int keys = head_dim <= 128 ? 64 : 32;  ///< per tile of the ring
  static constexpr int stages = head_dim == 128 ? 2 : 3;
  static constexpr int tile_bytes = keys * head_dim * 2;
  static constexpr int shared_bytes = stages * 2 * tile_bytes;
  /// Steps of 16 dimensions of the queries that wait in shared memory, for want of registers.
  static constexpr int parked = head_dim == 128 ? 8 : 0;
  /// Tiles whose list entries are read together, at least `stages`; two such windows lie in shared memory.
  static constexpr int window_tiles = stages == 2 ? 2 : 4, window = window_tiles * keys;
  static constexpr int ctas_per_sm = head_dim <= 128 ? 2 : 1;
};

template <Element element, int head_dim>
__global__ void __launch_bounds__(SparseFwdConfig<head_dim>::threads, SparseFwdConfig<head_dim>::ctas_per_sm)
    sparse_fwd_kernel(const __grid_constant__ SparseFwdParams p, int tiles_per_group) {
  using Config = SparseFwdConfig<head_dim>;
  constexpr int warp_rows = Warps<head_dim>::rows, m_tiles = warp_rows / 16, n_tiles = Config::keys / 8,
                k_steps = head_dim / 16;
  constexpr int d_tiles = head_dim / 8;
  constexpr int row_bytes = head_dim * 2, stage_bytes = 2 * Config::tile_bytes;
  using Scalar = typename ElementTraits<element>::Type;
  extern __shared__ __align__(1024) unsigned char shared[];

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;

  // KV heads outermost so that one head's keys stay in L2; long tiles first so that the last CTAs are short.
  const int ratio = p.shape.q_heads / p.shape.kv_heads;
  const int tiles = static_cast<int>(p.plan.groups) * tiles_per_group;
  const int kv_head = static_cast<int>(blockIdx.x / (tiles * ratio)), in_head = blockIdx.x % (tiles * ratio);
  const int tile = tiles - 1 - in_head / ratio, head = kv_head * ratio + in_head % ratio;
  const int group = tile / tiles_per_group;
  const int group_rows = p.plan.q_tile * p.plan.tiles_per_row;
  const int q_len = static_cast<int>(p.shape.q_len), q_start = static_cast<int>(p.shape.q_start);
  const int row_begin = group * group_rows + tile % tiles_per_group * tile_rows;
  const int row_end = min(min(q_len, (group + 1) * group_rows), row_begin + tile_rows);
  if (row_begin >= row_end) return;

  const Visibility visible{p.plan, p.plan.local ? p.plan.local[head] : 0};
  const int tile_last = min(q_start + row_end, static_cast<int>(p.shape.kv_len)) - 1;
  __shared__ KeyList list;
  if (warp == 0) list.fill(p.plan, head * p.plan.groups + group, tile_last, Config::keys);
  __syncthreads();
  const int tiles_to_do = list.tiles;

  // Row r of this lane (m tile r / 2, half r % 2) is warp_first + lane / 4 + 8 r. Rows past the end repeat
  // the last.
  const int warp_first = row_begin + warp * warp_rows;
  const int first_position = q_start + warp_first;
  const int last_position = min(q_start + row_end, first_position + warp_rows) - 1;
  const bool idle = warp_first >= row_end;

  const TileCopy<head_dim, Config::threads> copy;
  const unsigned ring = shared_address(shared), copy_to = ring + copy.offset();
  const unsigned token_bytes =
      static_cast<unsigned>(p.stride_kv_token * 2);  // a head's keys lie within 4 GiB
  const char* const k_head = static_cast<const char*>(p.k) + kv_head * p.stride_kv_head * 2;
  const char* const v_head = static_cast<const char*>(p.v) + kv_head * p.stride_kv_head * 2;

  // Indices: once a window the threads read the entries of the window after next and publish those of the
  // next. Within a tile the entry of row r lies at r % step * rows_a_thread + r / step, so that a thread
  // finds its own together.
  constexpr int rows_a_thread = Config::keys / copy.step,
                reads = (Config::window + Config::threads - 1) / Config::threads;
  constexpr int ranges_a_tile = Config::keys / 32;
  static_assert(rows_a_thread % 4 == 0, "offsets are read four at a time");
  __shared__ __align__(16) int indices[2 * Config::window];       // -1 = no key
  __shared__ __align__(16) unsigned offsets[2 * Config::window];  // of the keys, in bytes; absent = no key
  __shared__ __align__(16) int2 ranges[2 * Config::window / 32];  // least and greatest key of 32 entries
  constexpr unsigned absent = ~0u;
  auto place = [&](int n) {
    const int row = n % Config::keys;
    return n % (2 * Config::window) - row + row % copy.step * rows_a_thread + row / copy.step;
  };
  int item[reads], entry = threadIdx.x;
  const bool reader = Config::window >= Config::threads || threadIdx.x < Config::window;
  auto read_window = [&] {
#pragma unroll
    for (int i = 0; i < reads; ++i)
      if (reader) item[i] = list.item(entry + i * Config::threads, Config::keys, p.plan.kv_tile);
  };
  auto publish_window = [&] {
#pragma unroll
    for (int i = 0; i < reads; ++i) {
      if (!reader) continue;
      const int n = entry + i * Config::threads, key = item[i] + list.offset(n, p.plan.kv_tile);
      const bool listed = key <= tile_last;
      indices[place(n)] = listed ? key : -1;
      offsets[place(n)] = listed ? key * token_bytes : absent;
      const int least = __reduce_min_sync(~0u, listed ? key : INT_MAX);
      const int greatest = __reduce_max_sync(~0u, listed ? key : INT_MAX);
      if (lane == 0) ranges[n % (2 * Config::window) / 32] = {least, greatest};
    }
    entry += Config::window;
  };
  auto copy_tile = [&](int tile, unsigned stage) {
    const unsigned* const mine =
        offsets + tile * Config::keys % (2 * Config::window) + copy.row * rows_a_thread;
#pragma unroll
    for (int i = 0; i < rows_a_thread; i += 4) {
      const uint4 four = *reinterpret_cast<const uint4*>(mine + i);
      const unsigned of_row[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const unsigned from = of_row[r] + copy.column * 16;
        const unsigned to = copy_to + stage + (i + r) * copy.step * row_bytes;
        copy16_unless(of_row[r] == absent, to, k_head + from);
        copy16_unless(of_row[r] == absent, to + Config::tile_bytes, v_head + from);
      }
    }
  };

  read_window();
  publish_window();
  read_window();
  __syncthreads();
#pragma unroll
  for (int s = 0; s < Config::stages - 1; ++s) {
    if (s < tiles_to_do) copy_tile(s, s * stage_bytes);
    commit_copies();
  }

  // --- Queries, straight into the layout of the A operand.
  Operand<m_tiles, k_steps, Config::parked> q;
  load_operand(q.registers, static_cast<const Scalar*>(p.q) + head * p.stride_q_head, p.stride_q_token,
               warp_first, row_end);

  __shared__ uint4 parked[m_tiles * Config::parked * Config::threads + 1];
  q.park(parked);

  float out[m_tiles][d_tiles][4] = {};
  float reference[2 * m_tiles], sum[2 * m_tiles];  // exp2(score - reference) is what is added up
#pragma unroll
  for (int r = 0; r < 2 * m_tiles; ++r) {
    reference[r] = -1e38f;
    sum[r] = 0;
  }
  const float scale = p.shape.softmax_scale * log2e;

  auto write_lse = [&] {
    if (!p.lse) return;
#pragma unroll
    for (int r = 0; r < 2 * m_tiles; ++r) {
      const float total = quad_sum(sum[r]);
      const int row = warp_first + lane / 4 + 8 * r;
      if (lane % 4 == 0 && row < row_end)
        p.lse[head * p.shape.q_len + row] = total > 0 ? ln2 * (reference[r] + log2f(total)) : -INFINITY;
    }
  };

  const unsigned k_lane = ring + lane_offset<head_dim>();
  const unsigned v_lane =
      ring + Config::tile_bytes + (lane & 15) * row_bytes + (((lane >> 4) ^ (lane & 7)) << 4);
  unsigned stage = 0, copy_stage = (Config::stages - 1) * stage_bytes;

#pragma unroll 1
  for (int at = 0; at < tiles_to_do; ++at) {
    wait_copies<Config::stages - 2>();
    __syncthreads();
    if (at % Config::window_tiles == 0) {
      publish_window();
      read_window();
    }
    if (at + Config::stages - 1 < tiles_to_do) copy_tile(at + Config::stages - 1, copy_stage);
    commit_copies();
    copy_stage = copy_stage == (Config::stages - 1) * stage_bytes ? 0 : copy_stage + stage_bytes;
    if (at == list.main_tiles) write_lse();  // what follows counts twice in the output, once in lse

    const int* const tile_indices = indices + at * Config::keys % (2 * Config::window);
    bool some = false, all = true;
    if (p.plan.local) {
#pragma unroll
      for (int n = lane; n < Config::keys; n += 32) {
        some |= visible.to_some(tile_indices[n], first_position, last_position);
        all &= visible.to_all(tile_indices[n], first_position, last_position);
      }
      some = __any_sync(~0u, some), all = __all_sync(~0u, all);
    } else {
#pragma unroll
      for (int n = 0; n < ranges_a_tile; ++n) {
        const int2 range = ranges[(at * ranges_a_tile + n) % (2 * Config::window / 32)];
        some |= range.x <= last_position;
        all &= range.y <= first_position;
      }
    }
    if (!idle && some) {
      float score[m_tiles][n_tiles][4];
      multiply_tile<element>(score, q, k_lane, stage);

      if (!all) {
#pragma unroll
        for (int n = 0; n < n_tiles; ++n) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const int key = tile_indices[place(n * 8 + lane % 4 * 2 + e)];
#pragma unroll
            for (int r = 0; r < 2 * m_tiles; ++r) {
              const int position = first_position + lane / 4 + 8 * r;
              if (!visible.to_some(key, position, position)) score[r / 2][n][r % 2 * 2 + e] = -INFINITY;
            }
          }
        }
      }

      // Most tiles raise no row's maximum: then the quad's maximum and the pass over the output are skipped.
      // The maximum itself is kept exactly, so that the heaviest weight is 1 and is not rounded.
      float top[2 * m_tiles];
      bool rises = false;
#pragma unroll
      for (int r = 0; r < 2 * m_tiles; ++r) {
        top[r] = -INFINITY;
#pragma unroll
        for (int n = 0; n < n_tiles; ++n)
          top[r] = fmaxf(top[r], fmaxf(score[r / 2][n][r % 2 * 2], score[r / 2][n][r % 2 * 2 + 1]));
        rises |= top[r] * scale > reference[r];
      }
      if (__any_sync(~0u, rises)) {
#pragma unroll
        for (int r = 0; r < 2 * m_tiles; ++r) {
          const float next = fmaxf(reference[r], quad_max(top[r]) * scale);
          const float factor = exp2_approx(reference[r] - next);
          reference[r] = next;
          sum[r] *= factor;
#pragma unroll
          for (int d = 0; d < d_tiles; ++d) {
            out[r / 2][d][r % 2 * 2] *= factor;
            out[r / 2][d][r % 2 * 2 + 1] *= factor;
          }
        }
      }

#pragma unroll
      for (int n = 0; n < n_tiles; n += 2) {
        unsigned weight[m_tiles][4];
#pragma unroll
        for (int r = 0; r < 2 * m_tiles; ++r) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const float low = exp2_approx(fmaf(score[r / 2][n + half][r % 2 * 2], scale, -reference[r]));
            const float high = exp2_approx(fmaf(score[r / 2][n + half][r % 2 * 2 + 1], scale, -reference[r]));
            sum[r] += low + high;
            weight[r / 2][half * 2 + r % 2] = pack2<element>(low, high);
          }
        }
        const unsigned from = v_lane + stage + n * 8 * row_bytes;
#pragma unroll
        for (int d = 0; d < d_tiles; d += 2) {
          unsigned b[4];
          load_matrices_transposed(b, from ^ (d * 16));
#pragma unroll
          for (int m = 0; m < m_tiles; ++m) {
            multiply<element>(out[m][d], weight[m], b[0], b[1]);
            multiply<element>(out[m][d + 1], weight[m], b[2], b[3]);
          }
        }
      }
    }
    stage = stage == (Config::stages - 1) * stage_bytes ? 0 : stage + stage_bytes;
  }
  wait_copies<0>();
  if (list.main_tiles == tiles_to_do) write_lse();

#pragma unroll
  for (int r = 0; r < 2 * m_tiles; ++r) {
    const int row = warp_first + lane / 4 + 8 * r;
    const float total = quad_sum(sum[r]);
    const float inverse = total > 0 ? 1 / total : 0;
    if (row >= row_end) continue;
    const std::int64_t to = head * p.stride_out_head + row * p.stride_out_token + lane % 4 * 2;
#pragma unroll
    for (int d = 0; d < d_tiles; ++d) {
      const float low = out[r / 2][d][r % 2 * 2] * inverse, high = out[r / 2][d][r % 2 * 2 + 1] * inverse;
      if (p.out_f32) {
        *reinterpret_cast<float2*>(static_cast<float*>(p.out) + to + d * 8) = {low, high};
      } else {
        *reinterpret_cast<unsigned*>(static_cast<Scalar*>(p.out) + to + d * 8) = pack2<element>(low, high);
      }
    }
  }
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
