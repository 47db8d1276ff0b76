#include "common/anchor/prepare.hpp"
#include "common/anchor/select.cuh"
#include "common/schedule/schedule.cuh"
#include "device/launch.cuh"

namespace anchor::kernels {
namespace {

constexpr int kScanThreads = 1024;

/// The plan rows of KV heads [kv_begin, kv_end).
struct Chunk {
  Chunk(const AnchorLayout& layout, const AnchorGroups& groups, int kv_begin, int kv_end)
      : first_row(kv_begin * layout.heads_per_kv * groups.count),
        rows((kv_end - kv_begin) * layout.heads_per_kv * groups.count) {}
  std::int64_t first_row, rows;
};

/// Prefix sums of counts[rows] into offsets[1 ...], after offsets[0]. One block.
__device__ void scan(const std::int32_t* counts, std::int64_t* offsets, std::int64_t rows) {
  __shared__ std::int64_t warp_sum[kScanThreads / 32];
  const int thread = threadIdx.x;
  const std::int64_t each = (rows + kScanThreads - 1) / kScanThreads;
  const std::int64_t begin = min(thread * each, rows), end = min(begin + each, rows);
  std::int64_t own = 0;
  for (std::int64_t row = begin; row < end; ++row) own += counts[row];
  std::int64_t sum = own;
  for (int step = 1; step < 32; step *= 2) {
    const std::int64_t other = __shfl_up_sync(~0u, sum, step);
    if (thread % 32 >= step) sum += other;
  }
  if (thread % 32 == 31) warp_sum[thread / 32] = sum;
  __syncthreads();
  std::int64_t before = offsets[0] + sum - own;
  for (int w = 0; w < thread / 32; ++w) before += warp_sum[w];
  for (std::int64_t row = begin; row < end; ++row) offsets[row + 1] = before += counts[row];
  __syncthreads();
}

__global__ void __launch_bounds__(kScanThreads)
    scan_kernel(ListPlannerParams p, AnchorGroups groups, AnchorLayout layout, Chunk chunk) {
  begin_kernel();
  if (threadIdx.x == 0 && chunk.first_row == 0) {
    p.column_offsets[0] = 0;
    if (p.dup_offsets) p.dup_offsets[0] = 0;
  }
  __syncthreads();
  const std::int32_t* counts = layout.counts + chunk.first_row;
  scan(counts, p.column_offsets + chunk.first_row, chunk.rows);
  if (p.dup_offsets)
    scan(counts + p.shape.q_heads * groups.count, p.dup_offsets + chunk.first_row, chunk.rows);
}

/// A block counts the bits of one plan row of the n-th head that pooled queries did not select, segment by
/// segment.
__global__ void __launch_bounds__(256)
    count_kernel(ListPlannerParams p, AnchorGroups groups, AnchorLayout layout, Chunk chunk) {
  begin_kernel();
  const auto count = static_cast<unsigned>(groups.count);
  const int first_head = static_cast<int>(static_cast<unsigned>(chunk.first_row) / count);
  const int head = nth(layout.unpooled, first_head, static_cast<int>(blockIdx.x / count));
  const std::int64_t g = blockIdx.x % count, local = (head - first_head) * groups.count + g;
  const std::int64_t end = groups.candidate_end(g);
  const std::uint32_t* const bits = layout.bitmap + local * layout.words;
  const int lane = threadIdx.x % 32;
  int total = 0;
  for (int segment = threadIdx.x / 32; segment < layout.segments; segment += 8) {
    const std::int64_t begin = std::int64_t{segment} * layout.segment_keys;
    const std::int64_t stop = min(begin + layout.segment_keys, end);
    if (begin >= stop) break;
    int found = 0;
    for (std::int64_t first = begin + lane * 32; first < stop; first += 32 * 32)
      found += __popc(bits[first / 32] & bits_before(first, stop));
    found = __reduce_add_sync(~0u, found);
    if (lane == 0) layout.segment_counts[(local * layout.segments + segment) * 2] = found;
    total += found;
  }
  if (lane == 0 && total) atomicAdd(layout.counts + chunk.first_row + local, total);
}

/// A warp adds the window of one plan row to its bits and counts.
__global__ void __launch_bounds__(256)
    window_kernel(StripesParams p, AnchorGroups groups, AnchorLayout layout, Chunk chunk) {
  begin_kernel();
  const std::int64_t local = blockIdx.x * std::int64_t{8} + threadIdx.x / 32, row = chunk.first_row + local;
  if (local >= chunk.rows) return;
  const int lane = threadIdx.x % 32;
  const std::int64_t end = groups.candidate_end(row % groups.count), keys = layout.segment_keys;
  std::uint32_t* const bits = layout.bitmap + local * layout.words;
  int total = 0;
  for (std::int64_t begin = max(groups.initial, end - p.windows[row / groups.count]); begin < end;) {
    const std::int64_t segment = begin / keys, stop = min(end, (segment + 1) * keys);
    int added = 0;
    for (std::int64_t first = begin / 32 * 32 + lane * 32; first < stop; first += 32 * 32) {
      const std::uint32_t old = bits[first / 32];
      const std::uint32_t missing = bits_before(first, stop) & ~bits_before(first, begin) & ~old;
      bits[first / 32] = old | missing;
      added += __popc(missing);
    }
    added = __reduce_add_sync(~0u, added);
    if (lane == 0) layout.segment_counts[(local * layout.segments + segment) * 2] += added;
    total += added;
    begin = stop;
  }
  if (lane == 0 && total) layout.counts[row] += total;
}

/// Writes the keys of [begin, end) whose bit is set, in order, and, if wanted, how many of each 128 keys are
/// not. One warp; a lane reads four words at a time. Then every lane writes its own keys, or, where that
/// takes longer because many lie close together, all lanes those of one word side by side.
__device__ void expand(const std::uint32_t* bits, std::int64_t begin, std::int64_t end, std::int32_t* list,
                       std::int64_t place, std::int64_t capacity, std::uint8_t* unlisted = nullptr) {
  const int lane = threadIdx.x % 32;
  const std::uint32_t below = (1u << lane) - 1;
  list += place;
  const auto room = static_cast<int>(max(std::int64_t{0}, min(capacity - place, std::int64_t{1} << 30)));
  int written = 0;
  for (std::int64_t first = begin / 128 * 4; first * 32 < end; first += 128) {
    const std::int64_t w = first + lane * 4;
    uint4 words{};
    if (w * 32 < end) words = *reinterpret_cast<const uint4*>(bits + w);
    std::uint32_t word[4] = {words.x, words.y, words.z, words.w};
    int count = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      word[i] &= bits_before((w + i) * 32, end) & ~bits_before((w + i) * 32, begin);
      count += __popc(word[i]);
    }
    if (unlisted && w * 32 < end) unlisted[w / 4] = static_cast<std::uint8_t>(128 - count);
    const unsigned some = __ballot_sync(~0u, count > 0);
    const int keys = __reduce_add_sync(~0u, count), most = __reduce_max_sync(~0u, count);
    if (max(keys, 5 * most) <= 8 * __popc(some)) {  // what one way alone and the other cost on an H200
      int before = count;
      for (int step = 1; step < 32; step *= 2) {
        const int other = __shfl_up_sync(~0u, before, step);
        if (lane >= step) before += other;
      }
      int at = written + before - count;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int key = static_cast<int>((w + i) * 32) - 1;
        for (std::uint32_t rest = word[i]; rest; rest &= rest - 1, ++at)
          if (at < room) list[at] = key + __ffs(static_cast<int>(rest));
      }
      written += keys;
      continue;
    }
    for (unsigned left = some; left; left &= left - 1) {
      const int from = __ffs(static_cast<int>(left)) - 1;
      const int key = (static_cast<int>(first) + from * 4) * 32 + lane;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::uint32_t set = __shfl_sync(~0u, word[i], from);
        const int at = written + __popc(set & below);
        if (set >> lane & 1 && at < room) list[at] = key + i * 32;
        written += __popc(set);
      }
    }
  }
}

/// A warp writes the part of a plan row's lists that comes from `segments` segments of keys. The first blocks
/// make the schedule over the lists, if there is one: it needs their lengths only.
__global__ void __launch_bounds__(kScheduleThreads)
    expand_kernel(ListPlannerParams p, AnchorGroups groups, AnchorLayout layout, Chunk chunk, int segments,
                  int parts, PlanParams stripes, Schedule schedule) {
  begin_kernel();
  const unsigned schedulers = schedule.tile ? schedule.segments : 0;
  if (blockIdx.x < schedulers) {
    fill_schedule(p.shape, stripes, schedule, /*skip_empty=*/true, static_cast<int>(blockIdx.x));
    return;
  }
  // 32 bits are enough for rows and keys, and divide five times as fast.
  const unsigned warp = (blockIdx.x - schedulers) * (blockDim.x / 32) + threadIdx.x / 32;
  const unsigned local = warp / static_cast<unsigned>(parts), part = warp % static_cast<unsigned>(parts);
  if (local >= chunk.rows) return;
  const std::int64_t row = chunk.first_row + local;
  const std::int64_t g = static_cast<unsigned>(row) % static_cast<unsigned>(groups.count);
  const int first = static_cast<int>(groups.list_begin()) / 128 * 128 / layout.segment_keys;
  const int begin = max(first, static_cast<int>(part) * segments);
  const std::int64_t keys = layout.segment_keys, end = groups.candidate_end(g);
  if (begin * keys >= end || groups.list_begin() >= end) return;

  int before[2] = {0, 0};  // columns and duplicates of the segments before
  const auto* counts =
      reinterpret_cast<const int2*>(layout.segment_counts) + std::int64_t{local} * layout.segments;
  for (int segment = first + static_cast<int>(threadIdx.x % 32); segment < begin; segment += 32) {
    const int2 count = counts[segment];
    before[0] += count.x;
    before[1] += count.y;
  }
  const std::int64_t key_begin = max(groups.list_begin(), begin * keys);
  const std::int64_t key_end = min(end, (part + 1) * segments * keys), dup_end = groups.dup_end(g);
  const std::uint32_t* bits = layout.bitmap + std::int64_t{local} * layout.words;
  expand(bits, max(key_begin, dup_end), key_end, p.columns,
         p.column_offsets[row] + __reduce_add_sync(~0u, before[0]), p.column_capacity,
         layout.means.block ? layout.means.unlisted + row * layout.means.count : nullptr);
  if (p.dup_offsets)
    expand(bits, key_begin, min(key_end, dup_end), p.dup,
           p.dup_offsets[row] + __reduce_add_sync(~0u, before[1]), p.dup_capacity);
}

}  // namespace

void run_count(const ListPlannerParams& params, const AnchorGroups& groups, const AnchorLayout& layout,
               int kv_begin, int kv_end, CUstream_st* stream) {
  const int heads = count(layout.unpooled, kv_begin * layout.heads_per_kv, kv_end * layout.heads_per_kv);
  if (heads == 0) return;
  launch("count_kernel", count_kernel, static_cast<unsigned>(heads * groups.count), 256, 0, stream, params,
         groups, layout, Chunk(layout, groups, kv_begin, kv_end));
}

void run_windows(const StripesParams& params, const AnchorGroups& groups, const AnchorLayout& layout,
                 int kv_begin, int kv_end, CUstream_st* stream) {
  if (!params.windows) return;
  const Chunk chunk(layout, groups, kv_begin, kv_end);
  launch("window_kernel", window_kernel, static_cast<unsigned>((chunk.rows + 7) / 8), 256, 0, stream, params,
         groups, layout, chunk);
}

void run_compact(const ListPlannerParams& params, const AnchorGroups& groups, const AnchorLayout& layout,
                 int kv_begin, int kv_end, const Schedule* stripes, CUstream_st* stream) {
  const Chunk chunk(layout, groups, kv_begin, kv_end);
  launch("scan_kernel", scan_kernel, 1, kScanThreads, 0, stream, params, groups, layout, chunk);
  // 4096 keys are 128 words: one load of each lane.
  const int segments = std::max(1, 4096 / layout.segment_keys);
  const int parts = (layout.segments + segments - 1) / segments;
  const unsigned threads = stripes ? kScheduleThreads : 256;
  const std::int64_t warps = chunk.rows * parts, per_block = threads / 32;
  const PlanParams plan = columns_plan(params);
  Schedule schedule(params.shape, plan, nullptr);
  schedule.tile = nullptr;
  if (stripes) schedule = *stripes;
  const std::int64_t blocks = (warps + per_block - 1) / per_block + (stripes ? stripes->segments : 0);
  launch("expand_kernel", expand_kernel, static_cast<unsigned>(blocks), threads, 0, stream, params, groups,
         layout, chunk, segments, parts, plan, schedule);
}

}  // namespace anchor::kernels
