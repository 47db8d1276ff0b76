#include "check.hpp"
#include "planners/cut.cuh"
#include "planners/lists.hpp"
#include "planners/probe.hpp"

// MInference's vertical-slash head (rule: lib/anchor/method/vertical_slash.cpp).
namespace anchor::kernels {
namespace {

constexpr int kTile = 64, kSelectThreads = 1024;
constexpr std::int64_t kForcedColumns = 30, kForcedDistances = 100;

/// Bits of the best columns (y = 0) and distances (y = 1) of head x; bit t stands for distance N - 1 - t.
__global__ void __launch_bounds__(kSelectThreads)
    select_kernel(Probe probe, BlockGrid lines, const double* vertical, double slash, std::uint32_t* columns,
                  std::uint32_t* distances) {
  __shared__ double sums[kSelectThreads / 32];
  __shared__ int counts[kSelectThreads / 32];
  const std::int64_t keys = lines.tokens, head = blockIdx.x;
  const bool slashes = blockIdx.y == 1;
  const float* values = (slashes ? probe.diagonals : probe.columns) + head * keys;
  const auto at = [&](std::int64_t n, float& value) {
    if (n >= keys) return false;
    const bool forced = slashes ? n >= keys - kForcedDistances : n < kForcedColumns;
    value = forced ? INFINITY : values[n];
    return true;
  };
  const double budget =
      slashes ? fmax(slash, double{kForcedDistances}) : fmax(floor(vertical[head]), double{kForcedColumns});
  const Cut cut = find_cut<Budget::count, Team<kSelectThreads>>(keys, budget, sums, at);
  std::uint32_t* to = (slashes ? distances : columns) + head * lines.words;
  cut_words<kSelectThreads>(
      cut, lines.words, counts,
      [&](std::int64_t word, int lane, float& value) { return at(word * 32 + lane, value); },
      [&](std::int64_t word, std::uint32_t bits) { to[word] = bits; });
}

/// What a head's lines are: columns ascending, distances as t ascending.
struct Lines {
  const std::int64_t *column_offsets, *t_offsets;
  const std::int32_t *columns, *t;
};

/// Calls block(start) and column(key) for what the lines cover in the 64 rows before position `end`, in
/// order.
template <class Block, class Column>
__device__ void convert(const Lines& lines, std::int64_t keys, std::int64_t head, std::int64_t end,
                        const Block& block, const Column& column) {
  std::int64_t begin = 0, stop = 0;  // the open run
  std::int64_t next = lines.column_offsets[head];
  const std::int64_t last = lines.column_offsets[head + 1];
  const auto close_run = [&] {
    for (; next < last && lines.columns[next] < stop; ++next)
      if (lines.columns[next] < begin) column(lines.columns[next]);
    for (std::int64_t start = begin; start < min(stop, min(end, keys)); start += kTile) block(start);
  };
  std::int64_t from = lines.t_offsets[head], to = lines.t_offsets[head + 1];
  const std::int64_t t_end = to;
  while (from < to) {  // the first distance below `end`
    const std::int64_t middle = (from + to) / 2;
    if (keys - 1 - lines.t[middle] >= end)
      from = middle + 1;
    else
      to = middle;
  }
  for (; from < t_end; ++from) {
    const std::int64_t x = max(end - (keys - 1 - lines.t[from]), std::int64_t{kTile});
    if (stop == 0) {
      begin = x - kTile, stop = x;
    } else if (x > stop + kTile) {
      close_run();
      begin = x - kTile, stop = x;
    } else if (x > stop) {
      stop += kTile;
    }
  }
  close_run();
}

__global__ void __launch_bounds__(64)
    count_kernel(Lines lines, std::int64_t keys, std::int64_t tiles, std::int64_t rows, std::int32_t* blocks,
                 std::int32_t* columns) {
  const std::int64_t row = blockIdx.x * std::int64_t{64} + threadIdx.x;
  if (row > rows) return;
  int block_count = 0, column_count = 0;
  if (row < rows)
    convert(
        lines, keys, row / tiles, (row % tiles + 1) * kTile, [&](std::int64_t) { ++block_count; },
        [&](std::int64_t) { ++column_count; });
  blocks[row] = block_count;
  columns[row] = column_count;
}

__global__ void __launch_bounds__(64)
    fill_kernel(Lines lines, std::int64_t keys, std::int64_t tiles, std::int64_t rows,
                BlockListsParams blocks, BlockListsParams columns) {
  const std::int64_t row = blockIdx.x * std::int64_t{64} + threadIdx.x;
  if (row >= rows) return;
  std::int64_t block = blocks.offsets[row], column = columns.offsets[row];
  const auto put = [](const BlockListsParams& lists, std::int64_t& at, std::int64_t item) {
    if (at < lists.capacity) lists.items[at] = static_cast<std::int32_t>(item);
    ++at;
  };
  convert(
      lines, keys, row / tiles, (row % tiles + 1) * kTile,
      [&](std::int64_t start) { put(blocks, block, start); },
      [&](std::int64_t key) { put(columns, column, key); });
}

struct Layout {
  Layout(const PlannerInputs& in, const VerticalSlashParams& p, void* workspace)
      : carver(workspace),
        lines(in.shape.q_heads, in.shape.kv_len, static_cast<int>(in.shape.kv_len), 1),
        tiles((in.shape.q_len + kTile - 1) / kTile),
        rows(in.shape.q_heads * tiles),
        probe(in, p.last, carver) {
    column_bits = carver.take<std::uint32_t>(lines.rows() * lines.words);
    t_bits = carver.take<std::uint32_t>(lines.rows() * lines.words);
    column_offsets = carver.take<std::int64_t>(lines.heads + 1);
    t_offsets = carver.take<std::int64_t>(lines.heads + 1);
    columns = carver.take<std::int32_t>(lines.heads * lines.tokens);
    t = carver.take<std::int32_t>(lines.heads * lines.tokens);
    line_scratch = carver.take<char>(static_cast<std::int64_t>(block_lists_workspace(lines, 1)));
    block_counts = carver.take<std::int32_t>(rows + 1);
    column_counts = carver.take<std::int32_t>(rows + 1);
    scan = carver.take<char>(static_cast<std::int64_t>(scan_workspace(rows)));
  }
  Carver carver;
  BlockGrid lines;
  std::int64_t tiles, rows;
  Probe probe;
  std::uint32_t *column_bits, *t_bits;
  std::int64_t *column_offsets, *t_offsets;
  std::int32_t *columns, *t, *block_counts, *column_counts;
  char *line_scratch, *scan;
};

}  // namespace

std::size_t workspace_bytes(const PlannerInputs& inputs, const VerticalSlashParams& params) {
  return Layout(inputs, params, nullptr).carver.used();
}

void vertical_slash(const PlannerInputs& in, const VerticalSlashParams& p, void* workspace,
                    const Stream& stream) {
  const Layout layout(in, p, workspace);
  run_probe(in, layout.probe, stream.handle());
  const BlockGrid& lines = layout.lines;
  select_kernel<<<dim3(static_cast<unsigned>(lines.heads), 2), kSelectThreads, 0, stream.handle()>>>(
      layout.probe, lines, p.vertical, static_cast<double>(p.slash), layout.column_bits, layout.t_bits);
  check_launch("select_kernel");
  const std::int64_t most = lines.heads * lines.tokens;
  block_lists(lines, layout.column_bits, {layout.column_offsets, layout.columns, most}, layout.line_scratch,
              stream);
  block_lists(lines, layout.t_bits, {layout.t_offsets, layout.t, most}, layout.line_scratch, stream);

  const Lines found{layout.column_offsets, layout.t_offsets, layout.columns, layout.t};
  count_kernel<<<blocks_for(layout.rows + 1, 64), 64, 0, stream.handle()>>>(
      found, in.shape.kv_len, layout.tiles, layout.rows, layout.block_counts, layout.column_counts);
  check_launch("count_kernel");
  scan_counts(layout.block_counts, p.blocks.offsets, layout.rows, layout.scan, stream.handle());
  scan_counts(layout.column_counts, p.columns.offsets, layout.rows, layout.scan, stream.handle());
  fill_kernel<<<blocks_for(layout.rows, 64), 64, 0, stream.handle()>>>(found, in.shape.kv_len, layout.tiles,
                                                                       layout.rows, p.blocks, p.columns);
  check_launch("fill_kernel");
}

}  // namespace anchor::kernels
