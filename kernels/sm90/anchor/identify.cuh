#pragma once

#include <algorithm>

#include "anchor_plan/prepare.hpp"
#include "anchor_layout.hpp"
#include "check.hpp"
#include "device/element.cuh"
#include "device/wgmma.cuh"
#include "dispatch.hpp"
#include "sm90/sparse_fwd/kernel.cuh"
#include "sm90/sparse_fwd/row_max.cuh"

namespace anchor::kernels::sm90 {

/// Scores every pooled query against every candidate key of its group: bitmaps of the keys within theta, or
/// the smallest theta that selects each key.
///
/// A work item is 128 pooled rows (two warpgroups of 64) and some steps of 128 keys of one KV head. Pooled
/// queries are the sum of two 16-bit numbers, so scores are exact to about 2^-16 relative. Key 32 q + 2 j + e
/// of a step lies in row 8 j + 2 q + e of the key tile: a thread's 32 accumulator columns then are the bits
/// of one bitmap word.
template <Element element, int head_dim>
struct Identify {
  static constexpr int stages = head_dim == 128 ? 6 : 8;
  static constexpr int stage_bytes = kKeys * head_dim * 2;
  static constexpr int max_chunks = 1024;
  static constexpr int chunks = head_dim / 8, copies = kKeys * chunks / kProducers;

  struct Shared {
    unsigned char keys[stages][stage_bytes];
    std::uint64_t key_full[stages], key_empty[stages];
    unsigned items_before[max_chunks + 1];  // items of one KV head in the chunks before each
  };

  struct Item {
    int kv;                   // KV head
    std::int64_t tile;        // first of two 64-row tiles of that head
    std::int64_t begin, end;  // keys; begin is a multiple of kKeys
  };

  /// What a launch covers: KV heads from kv_begin on, keys in chunks, tiles in pairs.
  struct Range {
    int kv_begin, kv_heads;
    int steps_per_item, chunks, pairs;
  };

  static __device__ std::int64_t chunk_begin(const AnchorGroups& groups, const Range& range, int chunk) {
    return groups.block / kKeys * kKeys + static_cast<std::int64_t>(chunk) * range.steps_per_item * kKeys;
  }

  /// Candidates of every group in a pair of tiles end here or before; grows with the pair.
  static __device__ std::int64_t limit(const AnchorGroups& groups, const AnchorLayout& layout, int pair) {
    const std::int64_t last_unit =
        min(std::int64_t{2} * (pair + 1) * layout.units_per_tile, layout.units) - 1;
    const std::int64_t last = last_unit / layout.heads_per_kv;
    // A dense tail has no candidates; the group before it has the most.
    return max(groups.candidate_end(last), last > 0 ? groups.candidate_end(last - 1) : 0);
  }

  /// Fills items_before. Chunk c concerns the pairs from the first one on whose limit lies beyond its begin.
  static __device__ void count_items(const AnchorGroups& groups, const AnchorLayout& layout,
                                     const Range& range, Shared& s) {
    for (int chunk = threadIdx.x; chunk < range.chunks; chunk += kThreads) {
      int low = 0, high = range.pairs;
      while (low < high) {
        const int middle = (low + high) / 2;
        if (limit(groups, layout, middle) > max(chunk_begin(groups, range, chunk), groups.block))
          high = middle;
        else
          low = middle + 1;
      }
      s.items_before[chunk + 1] = range.pairs - low;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      s.items_before[0] = 0;
      for (int chunk = 0; chunk < range.chunks; ++chunk) s.items_before[chunk + 1] += s.items_before[chunk];
    }
    __syncthreads();
  }

  /// False: no more items.
  static __device__ bool decode(const AnchorGroups& groups, const AnchorLayout& layout, const Range& range,
                                const Shared& s, unsigned index, Item& item) {
    const unsigned per_head = s.items_before[range.chunks];
    if (index >= per_head * range.kv_heads) return false;
    item.kv = range.kv_begin + static_cast<int>(index / per_head);
    const unsigned rest = index % per_head;
    int low = 0, high = range.chunks - 1;  // the last chunk that begins at or before `rest`
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (s.items_before[middle] <= rest)
        low = middle;
      else
        high = middle - 1;
    }
    const int pair = range.pairs - 1 - static_cast<int>(rest - s.items_before[low]);
    item.tile = 2 * pair;
    item.begin = chunk_begin(groups, range, low);
    item.end = min(limit(groups, layout, pair), item.begin + range.steps_per_item * kKeys);
    return true;
  }

  static __device__ void produce(const AnchorParams& p, const AnchorGroups& groups,
                                 const AnchorLayout& layout, const Range& range, Shared& s) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, sub = lane / chunks;
    const int in_octet = 2 * warp + (sub & 1),
              octet = (sub / 2) * (kKeys / 16);  // row = 8 * (octet + i) + in_octet
    const unsigned target_offset = (lane % chunks / 8) * (kKeys * 128) + (8 * octet + in_octet) * 128 +
                                   ((lane % chunks % 8) ^ in_octet) * 16;
    const int first_key = in_octet / 2 * 32 + 2 * octet + in_octet % 2;
    const unsigned stride = static_cast<unsigned>(2 * p.stride_kv_token);
    unsigned offset[copies];  // of this thread's rows from its first
#pragma unroll
    for (int i = 0; i < copies; ++i) offset[i] = 2 * i * stride;
    Ring<stages> ring;
    Item item;
    for (unsigned index = blockIdx.x; decode(groups, layout, range, s, index, item); index += gridDim.x) {
      const char* source = static_cast<const char*>(p.k) + 2 * item.kv * p.stride_kv_head +
                           lane % chunks * 16 + (item.begin + first_key) * stride;
      for (std::int64_t begin = item.begin; begin < item.end; begin += kKeys, source += kKeys * stride) {
        barrier_wait(shared_address(&s.key_empty[ring.stage]), ring.parity ^ 1);
        const unsigned target = shared_address(s.keys[ring.stage]) + target_offset;
        if (begin + kKeys <= p.shape.kv_len) {
#pragma unroll
          for (int i = 0; i < copies; i += 8)
            copy16_eight<1024>(target + i * 1024, source,
                               make_uint4(offset[i], offset[i + 1], offset[i + 2], offset[i + 3]),
                               make_uint4(offset[i + 4], offset[i + 5], offset[i + 6], offset[i + 7]));
        } else {
#pragma unroll 1
          for (int i = 0; i < copies; ++i) {
            const bool valid = begin + first_key + 2 * i < p.shape.kv_len;
            copy16(target + i * 1024, valid ? source + 2 * i * stride : static_cast<const char*>(p.k), valid);
          }
        }
        barrier_arrive_after_copies(shared_address(&s.key_full[ring.stage]));
        ring.advance();
      }
    }
  }

  template <bool critical>
  static __device__ void consume(const AnchorParams& p, const AnchorGroups& groups,
                                 const AnchorLayout& layout, const Range& range, Shared& s) {
    const int lane = threadIdx.x % 32, quad = lane / 4, column = lane % 4;
    const int group = threadIdx.x / 128 - 1, warp = threadIdx.x / 32 % 4;
    const int slots = layout.slots;
    Ring<stages> ring;
    Item item;
    for (unsigned index = blockIdx.x; decode(groups, layout, range, s, index, item); index += gridDim.x) {
      const std::int64_t tile = item.kv * layout.tiles + item.tile + group;

      unsigned high[head_dim / 16][4], low[head_dim / 16][4];
      const std::int64_t fragment = ((tile * 4 + warp) * (head_dim / 16) * 32 + lane);
#pragma unroll
      for (int k = 0; k < head_dim / 16; ++k) {
        const uint4 h = static_cast<const uint4*>(layout.high)[fragment + k * 32];
        const uint4 l = static_cast<const uint4*>(layout.low)[fragment + k * 32];
        high[k][0] = h.x, high[k][1] = h.y, high[k][2] = h.z, high[k][3] = h.w;
        low[k][0] = l.x, low[k][1] = l.y, low[k][2] = l.z, low[k][3] = l.w;
      }

      // A thread's rows belong to one unit (slots > 1) or to two units 8 apart.
      float anchor[2], theta[2];
      std::int64_t end[2], row[2];  // candidates end here; plan row within the launch
      bool unit_exists[2];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int place = slots == 1    ? quad + 8 * h
                          : slots <= 16 ? quad / (slots / 2)
                                        : 0;  // unit within the warp
        const std::int64_t unit = (item.tile + group) * layout.units_per_tile +
                                  (slots <= 16 ? warp * (16 / slots) + place : warp * 16 / slots);
        unit_exists[h] = unit < layout.units;
        const std::int64_t g = unit / layout.heads_per_kv;
        const int head = static_cast<int>(unit % layout.heads_per_kv);
        anchor[h] = layout.mean_anchor[tile * 64 + warp * 16 + quad + 8 * h];
        theta[h] = critical || !unit_exists[h] ? 0 : p.theta[item.kv * layout.heads_per_kv + head];
        end[h] = unit_exists[h] ? groups.candidate_end(g) : 0;
        row[h] = (static_cast<std::int64_t>(item.kv - range.kv_begin) * layout.heads_per_kv + head) *
                     groups.count +
                 g;
      }

      for (std::int64_t begin = item.begin; begin < item.end; begin += kKeys) {
        float score[64];
        barrier_wait(shared_address(&s.key_full[ring.stage]), ring.parity);
        fence_proxy_async();
        wgmma_fence();
        pin(score);
        const WgmmaDescriptor keys(shared_address(s.keys[ring.stage]), 16, 1024);
#pragma unroll
        for (int k = 0; k < head_dim / 16; ++k)
          wgmma<element, 0>(score, high[k], keys.at((k / 4) * (kKeys * 128) + (k % 4) * 32), k > 0);
#pragma unroll
        for (int k = 0; k < head_dim / 16; ++k)
          wgmma<element, 0>(score, low[k], keys.at((k / 4) * (kKeys * 128) + (k % 4) * 32), true);
        wgmma_commit();
        wgmma_wait<0>();
        pin(score);
        __syncwarp();
        if (lane == 0) barrier_arrive(shared_address(&s.key_empty[ring.stage]));
        ring.advance();

        // The slack below the anchor: a key is kept if it is within theta.
#pragma unroll
        for (int i = 0; i < 64; ++i)
          score[i] = __fmaf_rn(-p.shape.softmax_scale, score[i], anchor[i / 2 % 2]);

        const std::int64_t first = begin + 32 * column;  // of this thread's 32 keys
        if constexpr (critical) {
#pragma unroll
          for (int n = 0; n < 32; ++n) {
            float least[2] = {score[n / 2 * 4 + n % 2], score[n / 2 * 4 + 2 + n % 2]};
            if (slots > 1) least[0] = fminf(least[0], least[1]);
            for (int step = 4; step < 2 * slots && step < 32; step *= 2)
              least[0] = fminf(least[0], __shfl_xor_sync(~0u, least[0], step));
            const std::int64_t key = first + n;
#pragma unroll
            for (int h = 0; h < 2; ++h) {
              const bool writes = slots == 1 || (h == 0 && quad % (slots / 2) == 0);
              if (writes && key >= groups.block && key < end[h])
                p.critical[row[h] * p.shape.kv_len + key] = least[h];
            }
          }
        } else {
          std::uint32_t word[2] = {0, 0};
#pragma unroll
          for (int n = 0; n < 32; ++n) {
#pragma unroll
            for (int h = 0; h < 2; ++h)
              if (score[n / 2 * 4 + 2 * h + n % 2] <= theta[h]) word[h] |= 1u << n;
          }
          if (slots > 1) {
            word[0] |= word[1];
            for (int step = 4; step < 2 * slots && step < 32; step *= 2)
              word[0] |= __shfl_xor_sync(~0u, word[0], step);
          }
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            const bool writes = slots == 1 || (h == 0 && quad % (min(slots, 16) / 2) == 0);
            if (!writes || !unit_exists[h]) continue;
            const std::int64_t left = end[h] - first;
            const std::uint32_t bits = word[h] & (left >= 32 ? ~0u : left <= 0 ? 0u : (1u << left) - 1);
            std::uint32_t* place = layout.bitmap + row[h] * layout.words + first / 32;
            if (slots <= 16)
              *place = bits;
            else if (bits)
              atomicOr(place, bits);  // several warps share the unit
          }
        }
      }
    }
  }
};

template <Element element, int head_dim, bool critical>
__global__ void __launch_bounds__(kThreads, 1)
    identify_kernel(const __grid_constant__ AnchorParams params, const __grid_constant__ AnchorGroups groups,
                    const __grid_constant__ AnchorLayout layout,
                    const __grid_constant__ typename Identify<element, head_dim>::Range range) {
  using I = Identify<element, head_dim>;
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<typename I::Shared*>(memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < I::stages; ++i) {
      barrier_init(shared_address(&shared.key_full[i]), kProducers);
      barrier_init(shared_address(&shared.key_empty[i]), kConsumerWarps);
    }
    barrier_init_fence();
  }
  I::count_items(groups, layout, range, shared);
  if (threadIdx.x < kProducers) {
    lower_registers<kProducerRegisters>();
    I::produce(params, groups, layout, range, shared);
  } else {
    raise_registers<kConsumerRegisters>();
    I::template consume<critical>(params, groups, layout, range, shared);
  }
}

template <Element element, int head_dim, bool critical>
void run_identify(const AnchorParams& params, const AnchorLayout& layout, int kv_begin, int kv_end,
                  CUstream_st* stream) {
  using I = Identify<element, head_dim>;
  const auto kernel = identify_kernel<element, head_dim, critical>;
  constexpr int bytes = sizeof(typename I::Shared);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
        "cudaFuncSetAttribute");
  const AnchorGroups groups(params);
  typename I::Range range;
  range.kv_begin = kv_begin;
  range.kv_heads = kv_end - kv_begin;
  range.pairs = static_cast<int>(layout.tiles / 2);
  // Six items a block and more, so that the last block does not wait; at most 32 steps, where fetching the
  // pooled queries no longer matters.
  const int blocks = multiprocessors();
  const std::int64_t key_steps = (params.shape.kv_len + kKeys - 1) / kKeys;
  const std::int64_t steps = range.kv_heads * range.pairs * key_steps / 2;
  range.steps_per_item = static_cast<int>(std::clamp<std::int64_t>(steps / (6 * blocks), 2, 32));
  range.steps_per_item =
      std::max(range.steps_per_item, static_cast<int>(key_steps / (I::max_chunks - 1)) + 1);
  range.chunks = static_cast<int>((key_steps + range.steps_per_item - 1) / range.steps_per_item);
  kernel<<<blocks, kThreads, bytes, stream>>>(params, groups, layout, range);
  check_launch("identify_kernel");
}

template <Element element, int head_dim>
void anchor_plan(const AnchorParams& params, void* workspace, CUstream_st* stream) {
  const AnchorLayout layout(params, workspace);
  const Shape& shape = params.shape;
  run_anchor_region(params, stream);

  SparseFwdParams rows;
  rows.shape = shape;
  rows.plan = anchor_region(params);
  rows.q = params.q;
  rows.k = rows.v = params.k;
  rows.lse = params.row_anchors ? params.row_anchors : layout.row_anchors;
  rows.stride_q_head = params.stride_q_head;
  rows.stride_q_token = params.stride_q_token;
  rows.stride_kv_head = params.stride_kv_head;
  rows.stride_kv_token = params.stride_kv_token;
  const Schedule schedule(shape, rows.plan, layout.schedule);
  run_schedule(shape, rows.plan, schedule, stream);
  run_forward<element, head_dim, Mode::row_max, RowMaxConsumer<element, head_dim>>(rows, schedule, stream);
  if (params.anchors_done) check(cudaEventRecord(params.anchors_done, stream), "cudaEventRecord");

  AnchorLayout pooling = layout;
  pooling.row_anchors = rows.lse;
  run_pool(params, pooling, stream);
  if (params.critical) {
    run_identify<element, head_dim, true>(params, layout, 0, shape.kv_heads, stream);
    return;
  }
  check(cudaMemsetAsync(layout.ticket, 0, sizeof(unsigned), stream), "cudaMemsetAsync");
  for (int kv = 0; kv < shape.kv_heads; kv += layout.kv_heads_at_once) {
    const int end = std::min(kv + layout.kv_heads_at_once, shape.kv_heads);
    if (layout.slots > 16)  // several warps join their bits
      check(cudaMemsetAsync(layout.bitmap, 0,
                            static_cast<std::size_t>((end - kv) * layout.units * layout.words) * 4, stream),
            "cudaMemsetAsync");
    run_identify<element, head_dim, false>(params, layout, kv, end, stream);
    run_compact(params, layout, kv, end, stream);
  }
}

}  // namespace anchor::kernels::sm90
