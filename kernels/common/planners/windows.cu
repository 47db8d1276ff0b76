#include "check.hpp"
#include "common/planners/grid.cuh"
#include "common/planners/lists.hpp"

// Sink and local window (rule: lib/anchor/method/streaming.cpp): lists are functions of the shape alone.
namespace anchor::kernels {
namespace {

constexpr int kTile = 128;

/// Calls block(start) and column(key) for what a plan row lists, in order.
template <class Block, class Column>
__device__ void walk(const WindowListsParams& p, std::int64_t row, std::int64_t groups, const Block& block,
                     const Column& column) {
  const std::int64_t head = row / groups, g = row % groups, first = p.q_start + g * kTile;
  const std::int64_t last = p.q_start + min(p.q_len, (g + 1) * kTile);
  const std::int64_t end = min(p.kv_len, last);
  const std::int64_t near =
      end > p.dense_from ? 0 : max(std::int64_t{0}, first - static_cast<std::int64_t>(p.local[head]) + 1);
  const auto run = [&](std::int64_t begin, std::int64_t stop) {
    for (; begin < stop; begin += kTile) {
      if (min(begin + kTile, p.kv_len) <= stop || stop >= end)
        block(begin);
      else
        for (std::int64_t j = begin; j < stop; ++j) column(j);
    }
  };
  if (near <= p.sink) {
    run(0, end);
  } else {
    run(0, p.sink);
    run(near, end);
  }
}

__global__ void count_kernel(WindowListsParams p, std::int64_t groups, std::int32_t* blocks,
                             std::int32_t* columns) {
  const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  if (row > p.q_heads * groups) return;
  int block_count = 0, column_count = 0;
  if (row < p.q_heads * groups)
    walk(
        p, row, groups, [&](std::int64_t) { ++block_count; }, [&](std::int64_t) { ++column_count; });
  blocks[row] = block_count;
  columns[row] = column_count;
}

__global__ void fill_kernel(WindowListsParams p, std::int64_t groups) {
  const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  if (row >= p.q_heads * groups) return;
  std::int64_t block = p.blocks.offsets[row], column = p.columns.offsets[row];
  const auto put = [](const BlockListsParams& lists, std::int64_t& at, std::int64_t item) {
    if (at < lists.capacity) lists.items[at] = static_cast<std::int32_t>(item);
    ++at;
  };
  walk(
      p, row, groups, [&](std::int64_t start) { put(p.blocks, block, start); },
      [&](std::int64_t key) { put(p.columns, column, key); });
}

struct Layout {
  Layout(const WindowListsParams& p, void* workspace)
      : groups((p.q_len + kTile - 1) / kTile), rows(p.q_heads * groups), carver(workspace) {
    blocks = carver.take<std::int32_t>(rows + 1);
    columns = carver.take<std::int32_t>(rows + 1);
    scan = carver.take<char>(static_cast<std::int64_t>(scan_workspace(rows)));
  }
  std::int64_t groups, rows;
  Carver carver;
  std::int32_t *blocks, *columns;
  char* scan;
};

}  // namespace

std::size_t workspace_bytes(const WindowListsParams& params) { return Layout(params, nullptr).carver.used(); }

void window_lists(const WindowListsParams& params, void* workspace, const Stream& stream) {
  const Layout layout(params, workspace);
  count_kernel<<<blocks_for(layout.rows + 1, 64), 64, 0, stream.handle()>>>(params, layout.groups,
                                                                            layout.blocks, layout.columns);
  check_launch("count_kernel");
  scan_counts(layout.blocks, params.blocks.offsets, layout.rows, layout.scan, stream.handle());
  scan_counts(layout.columns, params.columns.offsets, layout.rows, layout.scan, stream.handle());
  fill_kernel<<<blocks_for(layout.rows, 64), 64, 0, stream.handle()>>>(params, layout.groups);
  check_launch("fill_kernel");
}

}  // namespace anchor::kernels
