#pragma once

#include <cuda_runtime.h>

#include <algorithm>

#include "check.hpp"
#include "common/anchor/layout.hpp"
#include "sm90/mass/stream.cuh"

// The rows score of stripes: a key's mean weight over the rows of a group, relative to their regions. Keys
// stay, tiles of query rows stream past (as in the attention mass), and what is kept of the sums is one bit.
namespace anchor::kernels::sm90 {

constexpr int score_rows = 128;  ///< of a group

/// The heads of a launch, and how their work is cut: each CTA takes `keys` keys of a head and `groups`
/// groups.
struct RowScoreRange {
  RowScoreRange(const StripesParams& p, const AnchorGroups& all_groups, const AnchorLayout& layout,
                int kv_begin, int kv_end, int keys)
      : first_head(kv_begin * layout.heads_per_kv),
        keys(keys),
        heads(count(p.row_scored, first_head, kv_end * layout.heads_per_kv)) {
    if (heads == 0) return;
    key_tiles = static_cast<int>((p.shape.kv_len + keys - 1) / keys);
    constexpr int wanted_ctas = 2048;
    const int all = static_cast<int>(all_groups.count),
              wanted = std::max(1, wanted_ctas / (heads * key_tiles));
    groups = (all + wanted - 1) / wanted;
    spans = (all + groups - 1) / groups;
  }
  unsigned ctas() const { return static_cast<unsigned>(heads * key_tiles * spans); }

  int first_head, keys;
  int heads, key_tiles = 0, spans = 0, groups = 0;
};

/// What a CTA does.
struct RowScoreItem {
  int head, local_head, key_begin;
  int first, end;  // groups
  float limit;     // a mean that reaches it is kept; NaN: none is

  __device__ RowScoreItem(const StripesParams& p, const AnchorGroups& all, const AnchorLayout& layout,
                          const RowScoreRange& range, int index) {
    const int per_head = range.key_tiles * range.spans, in_head = index % per_head,
              span = in_head % range.spans;
    head = nth(p.row_scored, range.first_head, index / per_head);
    local_head = head - range.first_head;
    key_begin = in_head / range.spans * range.keys;
    // The groups that begin after the first key.
    const int q_start = static_cast<int>(p.shape.q_start);
    first = max(span * range.groups, key_begin < q_start ? 0 : (key_begin - q_start) / score_rows + 1);
    end = min(static_cast<int>(all.count), (span + 1) * range.groups);
    limit = p.theta[head] == -INFINITY ? NAN : exp2_approx(-p.theta[head] * log2e);
  }

  /// The least sum over a group's rows that is kept.
  __device__ __forceinline__ float least(const StripesParams& p, int group) const {
    return limit * static_cast<float>(min(score_rows, static_cast<int>(p.shape.q_len) - group * score_rows));
  }
  /// Writes the bits of the keys [key, key + 16); the initial ones are listed anyway.
  __device__ __forceinline__ void store(const AnchorGroups& all, const AnchorLayout& layout, int group,
                                        int key, unsigned kept) const {
    if (key >= layout.words * 32) return;
    const unsigned initial = (1u << max(0, min(16, static_cast<int>(all.initial) - key))) - 1;
    auto* words = layout.bitmap + (local_head * all.count + group) * layout.words;
    reinterpret_cast<unsigned short*>(words)[key / 16] = static_cast<unsigned short>(kept | initial);
  }
};

/// One bit for each of a warp's 16 keys: a quad has the sums of its key and of the one 8 further.
__device__ __forceinline__ unsigned kept_bits(float sum, float sum_8, float least) {
  const auto gather = [](unsigned votes) {  // every fourth bit
    votes &= 0x11111111u;
    votes = (votes | votes >> 3) & 0x03030303u;
    votes = (votes | votes >> 6) & 0x000f000fu;
    return (votes | votes >> 12) & 0xffu;
  };
  return gather(__ballot_sync(~0u, sum >= least)) | gather(__ballot_sync(~0u, sum_8 >= least)) << 8;
}

template <Element element, int head_dim>
__global__ void __launch_bounds__(stream_threads, 1)
    row_scores_kernel(const __grid_constant__ StripesParams p, const __grid_constant__ AnchorGroups groups,
                      const __grid_constant__ AnchorLayout layout,
                      const __grid_constant__ RowScoreRange range, const float* lse) {
  static_assert(stream_rows == score_rows, "a tile is a group");
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& s = *reinterpret_cast<StreamShared<head_dim>*>(memory);
  const RowScoreItem item(p, groups, layout, range, blockIdx.x);
  if (item.first >= item.end) return;
  const int q_len = static_cast<int>(p.shape.q_len), kv_len = static_cast<int>(p.shape.kv_len);

  const auto produce = [&] {
    const StreamCopy<head_dim> copy(static_cast<const unsigned short*>(p.q) + item.head * p.stride_q_head,
                                    p.stride_q_token);
    const float* const head_lse = lse + item.head * p.shape.q_len;
    const auto shift_of_row = [&](int group) {  // a row past the end weighs nothing
      const int row = group * score_rows + static_cast<int>(threadIdx.x);
      return group < item.end && row < q_len ? head_lse[row] * log2e : INFINITY;
    };
    StreamSlot slot;
    slot.parity = 1;  // the first wait on an empty stage passes at once
    float shift = shift_of_row(item.first);
    for (int group = item.first; group < item.end; ++group) {
      barrier_wait(shared_address(&s.empty[slot.stage]), slot.parity);
      copy.copy(shared_address(s.tile[slot.stage]), group * score_rows, min(q_len, (group + 1) * score_rows));
      s.shift[slot.stage][threadIdx.x] = shift;
      barrier_arrive(shared_address(&s.full[slot.stage]));
      barrier_arrive_after_copies(shared_address(&s.full[slot.stage]));
      slot.next();
      shift = shift_of_row(group + 1);
    }
  };

  const auto consume = [&] {
    const int lane = threadIdx.x % 32, kv_head = item.head / layout.heads_per_kv;
    const int in_tile = (threadIdx.x / 32 - 4) * 16, warp_key = item.key_begin + in_tile;
    unsigned k[1][head_dim / 16][4];
    load_operand(k, static_cast<const unsigned short*>(p.k) + kv_head * p.stride_kv_head, p.stride_kv_token,
                 warp_key, kv_len);
    const float scale = p.shape.softmax_scale * log2e;
    int group = item.first;
    consume_stream<element, head_dim>(
        s, k, item.end - item.first, item.key_begin + in_tile / 64 * 64 < kv_len,
        [&](float(&score)[64], int stage) {
          float sum[2][2] = {};
#pragma unroll
          for (int n = 0; n < 16; ++n) {
            const float2 shift = *reinterpret_cast<const float2*>(&s.shift[stage][n * 8 + lane % 4 * 2]);
#pragma unroll
            for (int h = 0; h < 2; ++h) {
              sum[h][0] += exp2_approx(__fmaf_rn(score[4 * n + 2 * h], scale, -shift.x));
              sum[h][1] += exp2_approx(__fmaf_rn(score[4 * n + 2 * h + 1], scale, -shift.y));
            }
          }
          const unsigned kept = kept_bits(quad_sum(sum[0][0] + sum[0][1]), quad_sum(sum[1][0] + sum[1][1]),
                                          item.least(p, group));
          if (lane == 0) item.store(groups, layout, group, warp_key, kept);
          ++group;
        });
  };
  run_stream(s, 256, produce, consume);
}

/// Sets the bits of the candidates of those query heads of KV heads [kv_begin, kv_end) whose rows are scored.
/// `lse` of every row's region [q_heads, q_len].
template <Element element, int head_dim>
void run_row_scores(const StripesParams& p, const AnchorGroups& groups, const AnchorLayout& layout,
                    const float* lse, int kv_begin, int kv_end, CUstream_st* stream) {
  const RowScoreRange range(p, groups, layout, kv_begin, kv_end, resident_rows);
  if (range.ctas() == 0) return;
  constexpr int shared_bytes = sizeof(StreamShared<head_dim>);
  const auto kernel = row_scores_kernel<element, head_dim>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  kernel<<<range.ctas(), stream_threads, shared_bytes, stream>>>(p, groups, layout, range, lse);
  check_launch("row_scores_kernel");
}

}  // namespace anchor::kernels::sm90
