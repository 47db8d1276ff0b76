#include "anchor/kernels/stats.hpp"
#include "check.hpp"

// What a plan keeps and costs, where its lists are (the same sums as lib/anchor/plan/plan_stats.cpp).
namespace anchor::kernels {
namespace {

constexpr int kThreads = 128;

/// The query rows of one plan row: their first and last positions, and what the windows of head and layer
/// hide from them.
struct Rows {
  std::int64_t first, last;
  std::int64_t sink, local, dense_from;
  std::int64_t sliding;  ///< the layer's window, or more than any distance

  __device__ Rows(const Shape& shape, const PlanParams& plan, int head, std::int64_t begin, std::int64_t end)
      : first(shape.q_start + begin), last(shape.q_start + end - 1) {
    sink = plan.local ? plan.sink : INT64_MAX;  // without a window every key is like one of the sink
    local = plan.local ? plan.local[head] : 0;
    dense_from = plan.dense_from;
    sliding = shape.sliding_window > 0 ? shape.sliding_window : last + 1;
  }

  /// Pairs of the rows [first, last] (positions) with the keys [start, start + width) under causality alone:
  /// the sum over the rows of min(max(position + 1 - start, 0), width).
  static __device__ std::int64_t causal_pairs(std::int64_t first, std::int64_t last, std::int64_t start,
                                              std::int64_t width) {
    const std::int64_t growing_from = max(first, start);              // rows before see nothing
    const std::int64_t full_from = max(growing_from, start + width);  // rows from here see all of them
    std::int64_t pairs = max(std::int64_t{0}, last - full_from + 1) * width;
    const std::int64_t growing_to = min(last, full_from - 1);
    if (growing_to >= growing_from) {
      const std::int64_t a = growing_from - start + 1, b = growing_to - start + 1;
      pairs += (a + b) * (b - a + 1) / 2;
    }
    return pairs;
  }

  /// Those of them in which the key lies less than `reach` before the row.
  static __device__ std::int64_t near_pairs(std::int64_t first, std::int64_t last, std::int64_t start,
                                            std::int64_t width, std::int64_t reach) {
    return causal_pairs(first, last, start, width) - causal_pairs(first - reach, last - reach, start, width);
  }

  /// Visible pairs with the keys [start, start + width).
  __device__ std::int64_t visible_pairs(std::int64_t start, std::int64_t width) const {
    const std::int64_t sink_end = min(max(sink, start), start + width);
    if (sink_end == start + width) return near_pairs(first, last, start, width, sliding);
    // Keys after the sink keep the rows that are not further than `local` away, and those from dense_from on.
    const std::int64_t sparse_last = min(last, max(first, dense_from) - 1);
    return near_pairs(first, sparse_last, start, sink_end - start, sliding) +
           near_pairs(first, sparse_last, sink_end, start + width - sink_end, min(local, sliding)) +
           near_pairs(sparse_last + 1, last, start, width, sliding);
  }
};

/// Number of entries of the sorted list that lie below `end`.
__device__ std::int64_t count_before(const std::int32_t* list, std::int64_t size, std::int64_t end) {
  std::int64_t low = 0, high = size;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (list[middle] < end)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

__device__ std::int64_t warp_sum(std::int64_t x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

__device__ void add(std::int64_t* to, std::int64_t x) {
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0 && x != 0)  // integers: the order does not matter
    atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(x));
}

/// A block takes plan rows x, x + gridDim.x, ... of head y.
__global__ void __launch_bounds__(kThreads) count_kernel(Shape shape, PlanParams plan, PairCounts* counts) {
  const int head = static_cast<int>(blockIdx.y), thread = static_cast<int>(threadIdx.x);
  const std::int64_t group_rows = static_cast<std::int64_t>(plan.q_tile) * plan.tiles_per_row;
  const auto block_width = [&](std::int64_t start) {
    return min(static_cast<std::int64_t>(plan.kv_tile), shape.kv_len - start);
  };
  PairCounts sum;
  for (std::int64_t group = blockIdx.x; group < plan.groups; group += gridDim.x) {
    const std::int64_t row = head * plan.groups + group, begin = group * group_rows;
    const std::int64_t end = min(begin + group_rows, shape.q_len);
    const Rows rows(shape, plan, head, begin, end);
    const std::int32_t* const blocks = plan.blocks + plan.block_offsets[row];
    const std::int32_t* const columns = plan.columns + plan.column_offsets[row];
    const std::int64_t block_count = plan.block_offsets[row + 1] - plan.block_offsets[row];
    const std::int64_t column_count = plan.column_offsets[row + 1] - plan.column_offsets[row];
    for (std::int64_t n = thread; n < block_count; n += kThreads)
      sum.visible += rows.visible_pairs(blocks[n], block_width(blocks[n]));
    for (std::int64_t n = thread; n < column_count; n += kThreads)
      sum.stripe += rows.visible_pairs(columns[n], 1);
    for (std::int64_t tile = begin + std::int64_t{thread} * plan.q_tile; tile < end;
         tile += std::int64_t{kThreads} * plan.q_tile) {
      const std::int64_t tile_rows = min(static_cast<std::int64_t>(plan.q_tile), end - tile);
      const std::int64_t reach = min(shape.kv_len, shape.q_start + tile + tile_rows);  // hidden from here on
      const std::int64_t from =  // and so are keys before
          shape.sliding_window > 0 ? max(std::int64_t{0}, shape.q_start + tile + 1 - shape.sliding_window)
                                   : 0;
      const std::int64_t seen = count_before(blocks, block_count, reach);
      const std::int64_t listed = seen - count_before(blocks, block_count, from - plan.kv_tile + 1);
      std::int64_t keys = count_before(columns, column_count, reach) -
                          count_before(columns, column_count, from) + listed * plan.kv_tile;
      if (listed > 0) keys += block_width(blocks[seen - 1]) - plan.kv_tile;  // only the last is clipped
      sum.work += tile_rows * keys;
    }
  }
  add(&counts[head].visible, sum.visible + sum.stripe);
  add(&counts[head].work, sum.work);
  add(&counts[head].stripe, sum.stripe);
}

/// Block x takes head x.
__global__ void __launch_bounds__(kThreads)
    listed_kernel(Shape shape, PlanParams plan, std::int64_t query, const std::int32_t* keys,
                  std::int64_t count, std::int64_t* kept_by_head) {
  const int head = static_cast<int>(blockIdx.x);
  const std::int64_t group = query / (static_cast<std::int64_t>(plan.q_tile) * plan.tiles_per_row);
  const std::int64_t row = head * plan.groups + group, position = shape.q_start + query;
  const std::int32_t* const blocks = plan.blocks + plan.block_offsets[row];
  const std::int32_t* const columns = plan.columns + plan.column_offsets[row];
  const std::int64_t block_count = plan.block_offsets[row + 1] - plan.block_offsets[row];
  const std::int64_t column_count = plan.column_offsets[row + 1] - plan.column_offsets[row];
  std::int64_t kept = 0;
  for (std::int64_t n = threadIdx.x; n < count; n += kThreads) {
    const std::int64_t key = keys[n];
    if (key > position) continue;
    if (shape.sliding_window > 0 && position - key >= shape.sliding_window) continue;
    if (plan.local && key >= plan.sink && position - key >= plan.local[head] && position < plan.dense_from)
      continue;
    const std::int64_t begun = count_before(blocks, block_count, key + 1);
    const std::int64_t at = count_before(columns, column_count, key);
    kept +=
        (begun > 0 && key < blocks[begun - 1] + plan.kv_tile) || (at < column_count && columns[at] == key);
  }
  add(&kept_by_head[head], kept);
}

}  // namespace

void count_listed(const Shape& shape, const PlanParams& plan, std::int64_t row, const std::int32_t* keys,
                  std::int64_t count, std::int64_t* kept, const Stream& stream) {
  if (count == 0) return;
  listed_kernel<<<static_cast<unsigned>(shape.q_heads), kThreads, 0, stream.handle()>>>(shape, plan, row,
                                                                                        keys, count, kept);
  check_launch("listed_kernel");
}

void count_pairs(const Shape& shape, const PlanParams& plan, PairCounts* counts, const Stream& stream) {
  check(cudaMemsetAsync(counts, 0, static_cast<std::size_t>(shape.q_heads) * sizeof *counts, stream.handle()),
        "cudaMemsetAsync");
  if (plan.groups == 0) return;
  constexpr std::int64_t most_blocks = 4096;  // of a head
  const dim3 grid(static_cast<unsigned>(plan.groups < most_blocks ? plan.groups : most_blocks),
                  static_cast<unsigned>(shape.q_heads));
  count_kernel<<<grid, kThreads, 0, stream.handle()>>>(shape, plan, counts);
  check_launch("count_kernel");
}

}  // namespace anchor::kernels
