#include "check.hpp"
#include "common/planners/cut.cuh"
#include "common/planners/lists.hpp"
#include "common/planners/probe.hpp"

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

/// A head's lines, indexed by words of 32: jumps from one line to the next take constant time.
struct Lines {
  std::int64_t keys;
  int words;
  const std::uint32_t *column_bits, *t_bits;  ///< [heads, words]; t stands for distance keys - 1 - t
  std::int32_t* column_rank;                  ///< [heads, words]: columns before the word
  std::int32_t* next_t;                       ///< [heads, words + 1]: the first t from the word on, or keys
  const std::int64_t* column_offsets;         ///< [heads + 1]
  const std::int32_t* columns;                ///< ascending

  __device__ int rank(std::int64_t head, std::int64_t key) const {
    const std::int64_t word = head * words + key / 32;
    if (key >= keys) return static_cast<int>(column_offsets[head + 1] - column_offsets[head]);
    return column_rank[word] + __popc(column_bits[word] & ((1u << key % 32) - 1));
  }
  /// The first t >= from, or keys.
  __device__ std::int64_t t_from(std::int64_t head, std::int64_t from) const {
    if (from >= keys) return keys;
    const std::uint32_t rest = t_bits[head * words + from / 32] >> from % 32;
    return rest ? from + __ffs(static_cast<int>(rest)) - 1 : next_t[head * (words + 1) + from / 32 + 1];
  }
};

/// Fills column_rank and next_t of head x.
__global__ void __launch_bounds__(kSelectThreads) index_kernel(Lines lines) {
  __shared__ int warp_sum[kSelectThreads / 32];
  const std::int64_t head = blockIdx.x;
  const std::uint32_t* columns = lines.column_bits + head * lines.words;
  int before = 0;
  for (int first = 0; first < lines.words; first += kSelectThreads) {
    const int w = first + threadIdx.x, lane = threadIdx.x % 32;
    const int own = w < lines.words ? __popc(columns[w]) : 0;
    int sum = own;
    for (int step = 1; step < 32; step *= 2) {
      const int other = __shfl_up_sync(~0u, sum, step);
      if (lane >= step) sum += other;
    }
    __syncthreads();
    if (lane == 31) warp_sum[threadIdx.x / 32] = sum;
    __syncthreads();
    int place = before + sum - own;
    for (int n = 0; n < kSelectThreads / 32; ++n) {
      if (n < threadIdx.x / 32) place += warp_sum[n];
      before += warp_sum[n];
    }
    if (w < lines.words) lines.column_rank[head * lines.words + w] = place;
  }
  const std::uint32_t* t = lines.t_bits + head * lines.words;
  for (int w = threadIdx.x; w <= lines.words; w += kSelectThreads) {
    int at = w;
    while (at < lines.words && t[at] == 0) ++at;
    lines.next_t[head * (lines.words + 1) + w] = static_cast<std::int32_t>(
        at < lines.words ? at * 32 + __ffs(static_cast<int>(t[at])) - 1 : lines.keys);
  }
}

/// Calls block(start) and columns(first, end), places in the head's list, for what the lines cover in the 64
/// rows before position `end`, in order. A distance covers 64 keys up to x; runs that overlap or touch grow
/// by whole blocks.
template <class Block, class Columns>
__device__ void convert(const Lines& lines, std::int64_t head, std::int64_t end, const Block& block,
                        const Columns& columns) {
  const std::int64_t shift = end - (lines.keys - 1);  // x = t + shift
  const std::int64_t reach = min(end, lines.keys);
  std::int64_t stop = 0, t = lines.t_from(head, max(std::int64_t{0}, 1 - shift));
  while (t < lines.keys) {
    const std::int64_t x = max(t + shift, std::int64_t{kTile});
    std::int64_t begin = stop;
    if (stop == 0 || x > stop + kTile) {
      begin = x - kTile;
      columns(lines.rank(head, stop), lines.rank(head, begin));
    }
    if (begin < reach) block(begin);
    stop = begin + kTile;
    t = lines.t_from(head, stop - shift + 1);
  }
}

__global__ void __launch_bounds__(64) count_kernel(Lines lines, std::int64_t tiles, std::int64_t rows,
                                                   std::int32_t* blocks, std::int32_t* columns) {
  const std::int64_t row = blockIdx.x * std::int64_t{64} + threadIdx.x;
  if (row > rows) return;
  int block_count = 0, column_count = 0;
  if (row < rows)
    convert(
        lines, row / tiles, (row % tiles + 1) * kTile, [&](std::int64_t) { ++block_count; },
        [&](int first, int end) { column_count += end - first; });
  blocks[row] = block_count;
  columns[row] = column_count;
}

__global__ void __launch_bounds__(64) fill_kernel(Lines lines, std::int64_t tiles, std::int64_t rows,
                                                  BlockListsParams blocks, BlockListsParams columns) {
  const std::int64_t row = blockIdx.x * std::int64_t{64} + threadIdx.x;
  if (row >= rows) return;
  std::int64_t block = blocks.offsets[row], column = columns.offsets[row];
  const auto put = [](const BlockListsParams& lists, std::int64_t& at, std::int64_t item) {
    if (at < lists.capacity) lists.items[at] = static_cast<std::int32_t>(item);
    ++at;
  };
  const std::int32_t* keys = lines.columns + lines.column_offsets[row / tiles];
  convert(
      lines, row / tiles, (row % tiles + 1) * kTile, [&](std::int64_t start) { put(blocks, block, start); },
      [&](int first, int end) {
        for (int n = first; n < end; ++n) put(columns, column, keys[n]);
      });
}

struct Layout {
  Layout(const Tensors& in, const VerticalSlashParams& p, void* workspace)
      : carver(workspace),
        lines(in.shape.q_heads, in.shape.kv_len, static_cast<int>(in.shape.kv_len), 1),
        tiles((in.shape.q_len + kTile - 1) / kTile),
        rows(in.shape.q_heads * tiles),
        probe(in, p.last, carver) {
    column_bits = carver.take<std::uint32_t>(lines.rows() * lines.words);
    t_bits = carver.take<std::uint32_t>(lines.rows() * lines.words);
    column_offsets = carver.take<std::int64_t>(lines.heads + 1);
    columns = carver.take<std::int32_t>(lines.heads * lines.tokens);
    column_rank = carver.take<std::int32_t>(lines.rows() * lines.words);
    next_t = carver.take<std::int32_t>(lines.rows() * (lines.words + 1));
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
  std::int64_t* column_offsets;
  std::int32_t *columns, *column_rank, *next_t, *block_counts, *column_counts;
  char *line_scratch, *scan;
};

}  // namespace

std::size_t workspace_bytes(const Tensors& inputs, const VerticalSlashParams& params) {
  return Layout(inputs, params, nullptr).carver.used();
}

void vertical_slash(const Tensors& in, const VerticalSlashParams& p, void* workspace, const Stream& stream) {
  const Layout layout(in, p, workspace);
  run_probe(in, layout.probe, stream.handle());
  const BlockGrid& lines = layout.lines;
  select_kernel<<<dim3(static_cast<unsigned>(lines.heads), 2), kSelectThreads, 0, stream.handle()>>>(
      layout.probe, lines, p.vertical, static_cast<double>(p.slash), layout.column_bits, layout.t_bits);
  check_launch("select_kernel");
  const std::int64_t most = lines.heads * lines.tokens;
  block_lists(lines, layout.column_bits, {layout.column_offsets, layout.columns, most}, layout.line_scratch,
              stream);
  const Lines found{in.shape.kv_len,    lines.words,   layout.column_bits,    layout.t_bits,
                    layout.column_rank, layout.next_t, layout.column_offsets, layout.columns};
  index_kernel<<<static_cast<unsigned>(lines.heads), kSelectThreads, 0, stream.handle()>>>(found);
  check_launch("index_kernel");
  count_kernel<<<blocks_for(layout.rows + 1, 64), 64, 0, stream.handle()>>>(
      found, layout.tiles, layout.rows, layout.block_counts, layout.column_counts);
  check_launch("count_kernel");
  scan_counts(layout.block_counts, p.blocks.offsets, layout.rows, layout.scan, stream.handle());
  scan_counts(layout.column_counts, p.columns.offsets, layout.rows, layout.scan, stream.handle());
  fill_kernel<<<blocks_for(layout.rows, 64), 64, 0, stream.handle()>>>(found, layout.tiles, layout.rows,
                                                                       p.blocks, p.columns);
  check_launch("fill_kernel");
}

}  // namespace anchor::kernels
