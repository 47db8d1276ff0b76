#pragma once

#include <type_traits>

#include "common/anchor/layout.hpp"

// What AnchorAttention and stripes do with the scores of pooled queries, on either architecture.
namespace anchor::kernels {

constexpr int select_keys = 128;  ///< keys of one step

/// The bits of a word of keys [first, first + 32) that stand for keys before `end`.
__device__ __forceinline__ std::uint32_t bits_before(std::int64_t first, std::int64_t end) {
  const std::int64_t left = end - first;
  return left >= 32 ? ~0u : left <= 0 ? 0u : (1u << left) - 1;
}

/// One past the last key that is a candidate of any pooled row in `count` tiles from `tile` on.
__device__ inline std::int64_t last_candidate(const AnchorGroups& groups, const AnchorLayout& layout,
                                              std::int64_t tile, std::int64_t count) {
  // A dense tail has no candidates; the group before it has the most.
  const std::int64_t last_unit = min((tile + count) * layout.units_per_tile, layout.units) - 1;
  const std::int64_t last = last_unit / layout.heads_per_kv;
  return max(groups.candidate_end(last), last > 0 ? groups.candidate_end(last - 1) : 0);
}

/// What a kernel takes that makes bitmaps, or critical values (AnchorAttention's alone).
template <bool critical>
using SelectParams = std::conditional_t<critical, AnchorParams, ListPlannerParams>;

/// A warp's 16 pooled rows against steps of 128 keys: bitmaps of the keys within theta, or the smallest theta
/// that selects each key. Key 32 q + 2 j + e of a step is the accumulators' column 8 j + 2 q + e: so the 32
/// columns of a thread are the bits of one bitmap word.
template <bool critical>
class AnchorSelect {
  using Params = SelectParams<critical>;

 public:
  /// `tile` is the KV head's tile of 64 pooled rows, `warp` the quarter of it.
  __device__ __forceinline__ AnchorSelect(const Params& p, const AnchorGroups& groups,
                                          const AnchorLayout& layout, int kv_begin, int kv, std::int64_t tile,
                                          int warp) {
    const int quad = threadIdx.x % 32 / 4, slots = layout.slots;
    first_row_ = static_cast<std::int64_t>(kv_begin) * layout.heads_per_kv * groups.count;
    // A thread's rows belong to one unit (slots > 1) or to two units 8 apart.
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int place = slots == 1    ? quad + 8 * h
                        : slots <= 16 ? quad / (slots / 2)
                                      : 0;  // unit within the warp
      const std::int64_t unit =
          tile * layout.units_per_tile + (slots <= 16 ? warp * (16 / slots) + place : warp * 16 / slots);
      const std::int64_t g = unit / layout.heads_per_kv;
      const int head = static_cast<int>(unit % layout.heads_per_kv);
      exists_[h] = unit < layout.units && !contains(layout.unpooled, kv * layout.heads_per_kv + head);
      const float* parts =
          layout.mean_anchor + ((kv * layout.tiles + tile) * 64 + warp * 16 + quad + 8 * h) * anchor_parts;
      anchor_[h] = 0;
      for (int part = 0; part < anchor_parts; ++part) anchor_[h] += parts[part];
      theta_[h] = critical || !exists_[h] ? 0 : p.theta[kv * layout.heads_per_kv + head];
      group_[h] = g;
      end_[h] = exists_[h] ? groups.candidate_end(g) : 0;
      row_[h] = (static_cast<std::int64_t>(kv - kv_begin) * layout.heads_per_kv + head) * groups.count + g;
    }
  }

  /// After the keys of segment `segment`: how many were selected, for the lists to come.
  __device__ __forceinline__ void finish(const Params& p, const AnchorGroups& groups,
                                         const AnchorLayout& layout, std::int64_t segment) {
    if constexpr (!critical) {
      const int slots = layout.slots, quad = threadIdx.x % 32 / 4;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        int columns = columns_[h], dups = dups_[h];
        columns_[h] = dups_[h] = 0;
        for (int step = 1; step < 4; step *= 2) {
          columns += __shfl_xor_sync(~0u, columns, step);
          dups += __shfl_xor_sync(~0u, dups, step);
        }
        if (threadIdx.x % 4 || !writes(slots, quad, h) || !exists_[h]) continue;
        std::int32_t* counts = layout.segment_counts + (row_[h] * layout.segments + segment) * 2;
        if (slots <= 16) {
          counts[0] = columns;
          counts[1] = dups;
        } else {  // several warps share the unit
          atomicAdd(counts, columns);
          atomicAdd(counts + 1, dups);
        }
        const std::int64_t row = first_row_ + row_[h];
        if (columns) atomicAdd(layout.counts + row, columns);
        if (dups) atomicAdd(layout.counts + p.shape.q_heads * groups.count + row, dups);
      }
    }
  }

  /// score = the products of the rows with the keys [begin, begin + 128).
  __device__ __forceinline__ void run(const Params& p, const AnchorGroups& groups, const AnchorLayout& layout,
                                      float (&score)[64], std::int64_t begin) {
    const int quad = threadIdx.x % 32 / 4, slots = layout.slots;
    // The slack below the anchor: a key is kept if it is within theta.
#pragma unroll
    for (int i = 0; i < 64; ++i) score[i] = __fmaf_rn(-p.shape.softmax_scale, score[i], anchor_[i / 2 % 2]);

    const std::int64_t first = begin + 32 * (threadIdx.x % 4);  // of this thread's 32 keys
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
          if (writes(slots, quad, h) && key >= groups.initial && key < end_[h])
            p.critical[row_[h] * p.shape.kv_len + key] = least[h];
        }
      }
    } else {
      std::uint32_t word[2] = {0, 0};
#pragma unroll
      for (int n = 0; n < 32; ++n) {
#pragma unroll
        for (int h = 0; h < 2; ++h)
          if (score[n / 2 * 4 + 2 * h + n % 2] <= theta_[h]) word[h] |= 1u << n;
      }
      if (slots > 1) {
        word[0] |= word[1];
        for (int step = 4; step < 2 * slots && step < 32; step *= 2)
          word[0] |= __shfl_xor_sync(~0u, word[0], step);
      }
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        if (!writes(slots, quad, h) || !exists_[h]) continue;
        std::uint32_t bits = word[h] & bits_before(first, end_[h]);
        if (first < groups.initial) {
          bits &= ~bits_before(first, groups.initial);
          if (groups.stripes) bits |= bits_before(first, min(groups.initial, end_[h]));
        }
        std::uint32_t* place = layout.bitmap + row_[h] * layout.words + first / 32;
        if (slots <= 16)
          *place = bits;
        else if (bits)
          bits &= ~atomicOr(place, bits);  // several warps share the unit
        if (groups.v4) {
          const std::uint32_t dups = bits & bits_before(first, groups.dup_end(group_[h]));
          dups_[h] += __popc(dups);
          bits ^= dups;
        }
        columns_[h] += __popc(bits);
      }
    }
  }

 private:
  /// Does the thread speak for its row h, once the rows of a unit are joined?
  static __device__ __forceinline__ bool writes(int slots, int quad, int h) {
    return slots == 1 || (h == 0 && quad % (min(slots, 16) / 2) == 0);
  }

  float anchor_[2], theta_[2];
  std::int64_t end_[2], row_[2];  // candidates end here; plan row within the launch
  std::int64_t group_[2], first_row_;
  bool exists_[2];
  int columns_[2] = {0, 0}, dups_[2] = {0, 0};  // selected since the last finish()
};

}  // namespace anchor::kernels
