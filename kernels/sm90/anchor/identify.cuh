#pragma once

#include "check.hpp"
#include "common/anchor/layout.hpp"
#include "common/anchor/select.cuh"
#include "device/wgmma.cuh"
#include "sm90/sparse_fwd/kernel.cuh"

namespace anchor::kernels::sm90 {

/// Scores every pooled query against every candidate key of its group: bitmaps of the keys within theta, or
/// the smallest theta that selects each key.
///
/// A work item is 128 pooled rows (two warpgroups of 64) and a segment of the keys of one KV head. Pooled
/// queries are the sum of two 16-bit numbers, so scores are exact to about 2^-16 relative. Key 32 q + 2 j + e
/// of a step lies in row 8 j + 2 q + e of the key tile: see AnchorSelect.
template <Element element, int head_dim>
struct Identify {
  static constexpr int stages = head_dim == 128 ? 6 : 8;
  static constexpr int stage_bytes = kKeys * head_dim * 2;
  static constexpr int threads = kProducers + 128 * kConsumers;
  static constexpr int producer_registers = 56, consumer_registers = 224;  // of 384 * 168
  static constexpr int chunks = head_dim / 8, copies = kKeys * chunks / kProducers;

  struct Shared {
    unsigned char keys[stages][stage_bytes];
    std::uint64_t key_full[stages], key_empty[stages];
    unsigned items_before[max_segments + 1];  // items of one KV head in the segments before each
  };

  struct Item {
    int kv;  // KV head
    int segment;
    std::int64_t tile;        // first of two 64-row tiles of that head
    std::int64_t begin, end;  // keys; begin is a multiple of kKeys
  };

  /// The KV heads of a launch.
  struct Range {
    int kv_begin, kv_heads;
  };

  /// Fills items_before. A segment concerns the pairs of tiles from the first one on whose candidates end
  /// beyond its begin: that end grows with the pair.
  static __device__ void count_items(const AnchorGroups& groups, const AnchorLayout& layout, Shared& s) {
    const int pairs = static_cast<int>(layout.tiles / 2);
    for (int segment = threadIdx.x; segment < layout.segments; segment += threads) {
      const std::int64_t begin = max(std::int64_t{segment} * layout.segment_keys, groups.list_begin());
      int low = 0, high = pairs;
      while (low < high) {
        const int middle = (low + high) / 2;
        if (last_candidate(groups, layout, 2 * middle, 2) > begin)
          high = middle;
        else
          low = middle + 1;
      }
      s.items_before[segment + 1] = pairs - low;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
      unsigned before = 0;
      for (int first = 0; first < layout.segments; first += 32) {
        const int segment = first + static_cast<int>(threadIdx.x);
        unsigned sum = segment < layout.segments ? s.items_before[segment + 1] : 0;
        for (int step = 1; step < 32; step *= 2) {
          const unsigned other = __shfl_up_sync(~0u, sum, step);
          if (threadIdx.x >= step) sum += other;
        }
        if (segment < layout.segments) s.items_before[segment + 1] = before + sum;
        before += __shfl_sync(~0u, sum, 31);
      }
      if (threadIdx.x == 0) s.items_before[0] = 0;
    }
    __syncthreads();
  }

  /// False: no more items.
  static __device__ bool decode(const AnchorGroups& groups, const AnchorLayout& layout, const Range& range,
                                const Shared& s, unsigned index, Item& item) {
    const unsigned per_head = s.items_before[layout.segments];
    if (index >= per_head * range.kv_heads) return false;
    item.kv = range.kv_begin + static_cast<int>(index / per_head);
    const unsigned rest = index % per_head;
    int low = 0, high = layout.segments - 1;  // the last segment that begins at or before `rest`
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (s.items_before[middle] <= rest)
        low = middle;
      else
        high = middle - 1;
    }
    item.segment = low;
    item.tile = layout.tiles - 2 - 2 * static_cast<std::int64_t>(rest - s.items_before[low]);
    const std::int64_t keys = layout.segment_keys;
    item.begin = max(low * keys, groups.list_begin() / kKeys * kKeys);
    item.end = min(last_candidate(groups, layout, item.tile, 2), (low + 1) * keys);
    return true;
  }

  static __device__ void produce(const ListPlannerParams& p, const AnchorGroups& groups,
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
  static __device__ void consume(const SelectParams<critical>& p, const AnchorGroups& groups,
                                 const AnchorLayout& layout, const Range& range, Shared& s) {
    const int lane = threadIdx.x % 32;
    const int group = threadIdx.x / 128 - 1, warp = threadIdx.x / 32 % 4;
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

      AnchorSelect<critical> select(p, groups, layout, range.kv_begin, item.kv, item.tile + group, warp);
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

        select.run(p, groups, layout, score, begin);
      }
      select.finish(p, groups, layout, item.segment);
    }
  }
};

template <Element element, int head_dim, bool critical>
__global__ void __launch_bounds__(Identify<element, head_dim>::threads, 1)
    identify_kernel(const __grid_constant__ SelectParams<critical> params,
                    const __grid_constant__ AnchorGroups groups, const __grid_constant__ AnchorLayout layout,
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
  begin_kernel();
  I::count_items(groups, layout, shared);
  if (threadIdx.x < kProducers) {
    lower_registers<I::producer_registers>();
    I::produce(params, groups, layout, range, shared);
  } else {
    raise_registers<I::consumer_registers>();
    I::template consume<critical>(params, groups, layout, range, shared);
  }
}

template <Element element, int head_dim, bool critical>
void run_identify(const SelectParams<critical>& params, const AnchorGroups& groups,
                  const AnchorLayout& layout, int kv_begin, int kv_end, CUstream_st* stream) {
  using I = Identify<element, head_dim>;
  const auto kernel = identify_kernel<element, head_dim, critical>;
  constexpr int bytes = sizeof(typename I::Shared);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
        "cudaFuncSetAttribute");
  const typename I::Range range{kv_begin, kv_end - kv_begin};
  launch("identify_kernel", kernel, static_cast<unsigned>(multiprocessors()), I::threads, bytes, stream,
         params, groups, layout, range);
}

}  // namespace anchor::kernels::sm90
