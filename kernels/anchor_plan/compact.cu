#include "anchor_plan/prepare.hpp"
#include "check.hpp"

namespace anchor::kernels {
namespace {

constexpr int kThreads = 512;

struct Chunk {
  std::int64_t first_row, rows;  // plan rows
};

/// The bits of word w that stand for keys in [begin, end).
__device__ std::uint32_t bits_within(std::int64_t w, std::int64_t begin, std::int64_t end) {
  const auto below = [&](std::int64_t limit) {
    const std::int64_t n = limit - w * 32;
    return n >= 32 ? ~0u : n <= 0 ? 0u : (1u << n) - 1;
  };
  return below(end) & ~below(begin);
}

/// Exclusive prefix sums of counts[rows] into offsets[1 ...], after offsets[0]. One block.
__device__ void scan(const std::int32_t* counts, std::int64_t* offsets, std::int64_t rows) {
  __shared__ std::int64_t warp_sum[kThreads / 32];
  const int thread = threadIdx.x;
  std::int64_t before = offsets[0];
  for (std::int64_t first = 0; first < rows; first += kThreads) {
    const std::int64_t row = first + thread;
    std::int64_t sum = row < rows ? __ldcg(counts + row) : 0;
    for (int step = 1; step < 32; step *= 2) {
      const std::int64_t other = __shfl_up_sync(~0u, sum, step);
      if (thread % 32 >= step) sum += other;
    }
    if (thread % 32 == 31) warp_sum[thread / 32] = sum;
    __syncthreads();
    std::int64_t total = 0;
    for (int w = 0; w < kThreads / 32; ++w) {
      if (w < thread / 32) sum += warp_sum[w];
      total += warp_sum[w];
    }
    if (row < rows) offsets[row + 1] = before + sum;
    before += total;
    __syncthreads();
  }
}

/// A warp counts the items of one plan row; the block that finishes last turns counts into offsets.
__global__ void __launch_bounds__(kThreads)
    count_kernel(AnchorParams p, AnchorGroups groups, AnchorLayout layout, Chunk chunk) {
  const int lane = threadIdx.x % 32;
  const std::int64_t local = blockIdx.x * static_cast<std::int64_t>(kThreads / 32) + threadIdx.x / 32;
  const std::int64_t all_rows = p.shape.q_heads * groups.count;
  if (local < chunk.rows) {
    const std::int64_t row = chunk.first_row + local, g = row % groups.count;
    const std::int64_t end = groups.candidate_end(g), dup_end = groups.dup_end(g);
    const std::uint32_t* bits = layout.bitmap + local * layout.words;
    int columns = 0, dups = 0;
    for (std::int64_t w = groups.block / 32 + lane; w * 32 < end; w += 32) {
      const std::uint32_t word = bits[w];
      columns += __popc(word & bits_within(w, max(groups.block, dup_end), end));
      dups += __popc(word & bits_within(w, groups.block, dup_end));
    }
    columns = __reduce_add_sync(~0u, columns);
    dups = __reduce_add_sync(~0u, dups);
    if (lane == 0) {
      layout.counts[row] = columns;
      layout.counts[all_rows + row] = dups;
    }
  }
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(layout.ticket, 1u) == gridDim.x - 1;
  __syncthreads();
  if (!last) return;
  __threadfence();
  if (threadIdx.x == 0) {
    *layout.ticket = 0;
    if (chunk.first_row == 0) {
      p.column_offsets[0] = 0;
      if (p.dup_offsets) p.dup_offsets[0] = 0;
    }
  }
  __syncthreads();
  scan(layout.counts + chunk.first_row, p.column_offsets + chunk.first_row, chunk.rows);
  if (p.dup_offsets)
    scan(layout.counts + all_rows + chunk.first_row, p.dup_offsets + chunk.first_row, chunk.rows);
}

/// Writes the keys of [begin, end) whose bit is set, in order. One warp; a lane takes four words at a time.
__device__ void expand(const std::uint32_t* bits, std::int64_t begin, std::int64_t end, std::int32_t* list,
                       std::int64_t place, std::int64_t capacity) {
  const int lane = threadIdx.x % 32;
  for (std::int64_t first = begin / 128 * 4; first * 32 < end; first += 128) {
    const std::int64_t w = first + lane * 4;
    uint4 words{};
    if (w * 32 < end) words = *reinterpret_cast<const uint4*>(bits + w);
    std::uint32_t word[4] = {words.x, words.y, words.z, words.w};
    int count = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) count += __popc(word[i] &= bits_within(w + i, begin, end));
    int before = count;
    for (int step = 1; step < 32; step *= 2) {
      const int other = __shfl_up_sync(~0u, before, step);
      if (lane >= step) before += other;
    }
    std::int64_t at = place + before - count;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      for (std::uint32_t rest = word[i]; rest; rest &= rest - 1, ++at)
        if (at < capacity)
          list[at] = static_cast<std::int32_t>((w + i) * 32 + __ffs(static_cast<int>(rest)) - 1);
    }
    place += __shfl_sync(~0u, before, 31);
  }
}

__global__ void __launch_bounds__(256)
    expand_kernel(AnchorParams p, AnchorGroups groups, AnchorLayout layout, Chunk chunk) {
  const std::int64_t local = blockIdx.x * static_cast<std::int64_t>(256 / 32) + threadIdx.x / 32;
  if (local >= chunk.rows) return;
  const std::int64_t row = chunk.first_row + local, g = row % groups.count;
  const std::uint32_t* bits = layout.bitmap + local * layout.words;
  const std::int64_t end = groups.candidate_end(g), dup_end = groups.dup_end(g);
  expand(bits, max(groups.block, dup_end), end, p.columns, p.column_offsets[row], p.column_capacity);
  if (p.dup_offsets) expand(bits, groups.block, dup_end, p.dup, p.dup_offsets[row], p.dup_capacity);
}

}  // namespace

void run_compact(const AnchorParams& params, const AnchorLayout& layout, int kv_begin, int kv_end,
                 CUstream_st* stream) {
  const AnchorGroups groups(params);
  const std::int64_t per_kv = layout.heads_per_kv * groups.count;
  const Chunk chunk{kv_begin * per_kv, (kv_end - kv_begin) * per_kv};
  const auto blocks = [&](std::int64_t warps) {
    return static_cast<unsigned>((chunk.rows + warps - 1) / warps);
  };
  count_kernel<<<blocks(kThreads / 32), kThreads, 0, stream>>>(params, groups, layout, chunk);
  check_launch("count_kernel");
  expand_kernel<<<blocks(256 / 32), 256, 0, stream>>>(params, groups, layout, chunk);
  check_launch("expand_kernel");
}

}  // namespace anchor::kernels
