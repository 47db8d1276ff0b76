#include <cub/device/device_scan.cuh>

#include "check.hpp"
#include "common/planners/grid.cuh"
#include "common/planners/lists.hpp"

namespace anchor::kernels {

BlockGrid::BlockGrid(int head_count, std::int64_t length, int tile_rows, int block_keys)
    : heads(head_count),
      tokens(length),
      q_tile(tile_rows),
      kv_tile(block_keys),
      tiles(static_cast<int>((length + tile_rows - 1) / tile_rows)),
      blocks(static_cast<int>((length + block_keys - 1) / block_keys)),
      words((blocks + 31) / 32) {}

std::size_t scan_workspace(std::int64_t rows) {
  std::size_t bytes = 0;
  check(cub::DeviceScan::ExclusiveScan(nullptr, bytes, static_cast<const std::int32_t*>(nullptr),
                                       static_cast<std::int64_t*>(nullptr), cuda::std::plus<>{},
                                       std::int64_t{0}, rows + 1),
        "cub::DeviceScan");
  return bytes;
}

void scan_counts(const std::int32_t* counts, std::int64_t* offsets, std::int64_t rows, void* workspace,
                 CUstream_st* stream) {
  std::size_t bytes = scan_workspace(rows);
  check(cub::DeviceScan::ExclusiveScan(workspace, bytes, counts, offsets, cuda::std::plus<>{},
                                       std::int64_t{0}, rows + 1, stream),
        "cub::DeviceScan");
}

namespace {

constexpr int kThreads = 256;

/// Row of the grid that plan row `row` repeats.
__device__ std::int64_t source_row(const BlockGrid& grid, int copies, std::int64_t row) {
  return row / grid.tiles / copies * grid.tiles + row % grid.tiles;
}

/// A warp counts the bits of a plan row; the entry after the last row is the scan's end.
__global__ void __launch_bounds__(kThreads)
    count_bits_kernel(BlockGrid grid, const std::uint32_t* bits, int copies, std::int32_t* counts) {
  const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(kThreads / 32) + threadIdx.x / 32;
  const std::int64_t rows = static_cast<std::int64_t>(grid.heads) * copies * grid.tiles;
  if (row > rows) return;
  int count = 0;
  if (row < rows) {
    const std::uint32_t* words = bits + source_row(grid, copies, row) * grid.words;
    for (int w = threadIdx.x % 32; w < grid.words; w += 32) count += __popc(words[w]);
    count = __reduce_add_sync(~0u, count);
  }
  if (threadIdx.x % 32 == 0) counts[row] = count;
}

__global__ void __launch_bounds__(kThreads)
    expand_bits_kernel(BlockGrid grid, const std::uint32_t* bits, BlockListsParams lists) {
  const int lane = threadIdx.x % 32;
  const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(kThreads / 32) + threadIdx.x / 32;
  if (row >= static_cast<std::int64_t>(grid.heads) * lists.head_copies * grid.tiles) return;
  const std::uint32_t* words = bits + source_row(grid, lists.head_copies, row) * grid.words;
  std::int64_t place = lists.offsets[row];
  for (int first = 0; first < grid.words; first += 32) {
    const int w = first + lane;
    const std::uint32_t word = w < grid.words ? words[w] : 0;
    int before = __popc(word);
    for (int step = 1; step < 32; step *= 2) {
      const int other = __shfl_up_sync(~0u, before, step);
      if (lane >= step) before += other;
    }
    std::int64_t at = place + before - __popc(word);
    for (std::uint32_t rest = word; rest; rest &= rest - 1, ++at) {
      if (at < lists.capacity) lists.items[at] = (w * 32 + __ffs(static_cast<int>(rest)) - 1) * grid.kv_tile;
    }
    place += __shfl_sync(~0u, before, 31);
  }
}

}  // namespace

std::size_t block_lists_workspace(const BlockGrid& grid, int head_copies) {
  const std::int64_t rows = grid.rows() * head_copies;
  Carver carver(nullptr);
  carver.take<std::int32_t>(rows + 1);
  return carver.used() + scan_workspace(rows);
}

void block_lists(const BlockGrid& grid, const std::uint32_t* bits, const BlockListsParams& lists,
                 void* workspace, const Stream& stream) {
  const std::int64_t rows = grid.rows() * lists.head_copies;
  Carver carver(workspace);
  auto* counts = carver.take<std::int32_t>(rows + 1);
  count_bits_kernel<<<blocks_for(rows + 1, kThreads / 32), kThreads, 0, stream.handle()>>>(
      grid, bits, lists.head_copies, counts);
  check_launch("count_bits_kernel");
  scan_counts(counts, lists.offsets, rows, static_cast<char*>(workspace) + carver.used(), stream.handle());
  expand_bits_kernel<<<blocks_for(rows, kThreads / 32), kThreads, 0, stream.handle()>>>(grid, bits, lists);
  check_launch("expand_bits_kernel");
}

}  // namespace anchor::kernels
