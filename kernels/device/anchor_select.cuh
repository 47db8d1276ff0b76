#pragma once

#include <algorithm>

#include "anchor_layout.hpp"

// What AnchorAttention does with the scores of pooled queries, on either architecture.
namespace anchor::kernels {

constexpr int select_keys = 128;  ///< keys of one step

/// One past the last key that is a candidate of any pooled row in `count` tiles from `tile` on.
__device__ inline std::int64_t last_candidate(const AnchorGroups& groups, const AnchorLayout& layout,
                                              std::int64_t tile, std::int64_t count) {
  // A dense tail has no candidates; the group before it has the most.
  const std::int64_t last_unit = min((tile + count) * layout.units_per_tile, layout.units) - 1;
  const std::int64_t last = last_unit / layout.heads_per_kv;
  return max(groups.candidate_end(last), last > 0 ? groups.candidate_end(last - 1) : 0);
}

/// A warp's 16 pooled rows against steps of 128 keys: bitmaps of the keys within theta, or the smallest theta
/// that selects each key. Key 32 q + 2 j + e of a step is the accumulators' column 8 j + 2 q + e: so the 32
/// columns of a thread are the bits of one bitmap word.
template <bool critical>
class AnchorSelect {
 public:
  /// `tile` is the KV head's tile of 64 pooled rows, `warp` the quarter of it.
  __device__ __forceinline__ AnchorSelect(const AnchorParams& p, const AnchorGroups& groups,
                                          const AnchorLayout& layout, int kv_begin, int kv, std::int64_t tile,
                                          int warp) {
    const int quad = threadIdx.x % 32 / 4, slots = layout.slots;
    // A thread's rows belong to one unit (slots > 1) or to two units 8 apart.
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int place = slots == 1    ? quad + 8 * h
                        : slots <= 16 ? quad / (slots / 2)
                                      : 0;  // unit within the warp
      const std::int64_t unit =
          tile * layout.units_per_tile + (slots <= 16 ? warp * (16 / slots) + place : warp * 16 / slots);
      exists_[h] = unit < layout.units;
      const std::int64_t g = unit / layout.heads_per_kv;
      const int head = static_cast<int>(unit % layout.heads_per_kv);
      anchor_[h] = layout.mean_anchor[(kv * layout.tiles + tile) * 64 + warp * 16 + quad + 8 * h];
      theta_[h] = critical || !exists_[h] ? 0 : p.theta[kv * layout.heads_per_kv + head];
      end_[h] = exists_[h] ? groups.candidate_end(g) : 0;
      row_[h] = (static_cast<std::int64_t>(kv - kv_begin) * layout.heads_per_kv + head) * groups.count + g;
    }
  }

  /// score = the products of the rows with the keys [begin, begin + 128).
  __device__ __forceinline__ void run(const AnchorParams& p, const AnchorGroups& groups,
                                      const AnchorLayout& layout, float (&score)[64],
                                      std::int64_t begin) const {
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
          const bool writes = slots == 1 || (h == 0 && quad % (slots / 2) == 0);
          if (writes && key >= groups.block && key < end_[h])
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
        const bool writes = slots == 1 || (h == 0 && quad % (min(slots, 16) / 2) == 0);
        if (!writes || !exists_[h]) continue;
        const std::int64_t left = end_[h] - first;
        const std::uint32_t bits = word[h] & (left >= 32 ? ~0u : left <= 0 ? 0u : (1u << left) - 1);
        std::uint32_t* place = layout.bitmap + row_[h] * layout.words + first / 32;
        if (slots <= 16)
          *place = bits;
        else if (bits)
          atomicOr(place, bits);  // several warps share the unit
      }
    }
  }

 private:
  float anchor_[2], theta_[2];
  std::int64_t end_[2], row_[2];  // candidates end here; plan row within the launch
  bool exists_[2];
};

}  // namespace anchor::kernels
