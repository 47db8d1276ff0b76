#include "check.hpp"
#include "common/planners/cut.cuh"
#include "common/planners/probe.hpp"
#include "common/planners/scores.hpp"
#include "device/element.cuh"

// FlexPrefill (rule: lib/anchor/method/flexprefill.cpp).
namespace anchor::kernels {
namespace {

constexpr int kThreads = 1024;

/// Per head: profiles summed over blocks, the pooled guess, and what they decide.
struct Decision {
  float *columns, *diagonals, *guess;  ///< [heads, blocks]
  std::uint32_t *column_bits,
      *distance_bits;  ///< [heads, words]: blocks 0 .., distances blocks - 1 - t at bit t
  int* query_aware;    ///< [heads]
};

__device__ double sum_of(const float* x, std::int64_t begin, std::int64_t end) {
  double sum = 0;
  for (std::int64_t n = begin; n < end; ++n) sum += static_cast<double>(x[n]);
  return sum;
}

/// 1 + the number of prefixes of x, sorted descending, whose sum is at most gamma.
__device__ std::int64_t cover(const float* x, std::int64_t items, double gamma, double* shared) {
  const auto at = [&](std::int64_t n, float& value) {
    value = x[n];
    return true;
  };
  const Cut cut = find_cut<Budget::through, Team<kThreads>>(items, gamma, shared, at);
  double tied = 0;
  for (std::int64_t n = threadIdx.x; n < items; n += kThreads) tied += ordered(x[n]) == cut.key;
  tied = Team<kThreads>::sum(tied, shared);
  return 1 + cut.above + min(cut.ties, static_cast<std::int64_t>(tied));
}

/// Softmax over all blocks of the probe's mean query against mean keys, in place.
__device__ void softmax(float* x, int items, double* shared) {
  __shared__ float top_of[kThreads / 32];
  float top = -INFINITY;
  for (int n = threadIdx.x; n < items; n += kThreads) top = fmaxf(top, x[n]);
  for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, step));
  __syncthreads();
  if (threadIdx.x % 32 == 0) top_of[threadIdx.x / 32] = top;
  __syncthreads();
  for (const float other : top_of) top = fmaxf(top, other);
  double sum = 0;
  for (int n = threadIdx.x; n < items; n += kThreads) sum += static_cast<double>(x[n] = expf(x[n] - top));
  sum = Team<kThreads>::sum(sum, shared);
  for (int n = threadIdx.x; n < items; n += kThreads)
    x[n] = static_cast<float>(static_cast<double>(x[n]) / sum);
  __syncthreads();
}

/// One block a head.
__global__ void __launch_bounds__(kThreads)
    decide_kernel(Tensors in, FlexPrefillParams p, BlockGrid grid, Probe probe, const float* probe_mean,
                  const float* k_means, Decision out) {
  __shared__ double sums[kThreads / 32];
  __shared__ int counts[kThreads / 32];
  const std::int64_t head = blockIdx.x, keys = grid.tokens,
                     kv = head / (in.shape.q_heads / in.shape.kv_heads);
  const float *columns = probe.columns + head * keys, *diagonals = probe.diagonals + head * keys;
  float* const column = out.columns + head * grid.blocks;
  float* const diagonal = out.diagonals + head * grid.blocks;
  for (int c = threadIdx.x; c < grid.blocks; c += kThreads) {
    const std::int64_t begin = static_cast<std::int64_t>(c) * p.block, end = min(begin + p.block, keys);
    column[c] = static_cast<float>(sum_of(columns, begin, end));
    diagonal[c] = static_cast<float>(sum_of(diagonals, begin, end));
  }
  double vertical = 0, slash = 0;
  bool query_aware = false;
  if (p.slash_blocks > 0) {
    vertical = floor((floor(p.knob[head]) + p.block - 1) / p.block);
    slash = p.slash_blocks;
  } else {
    const auto budget = [&](const float* x) {
      const std::int64_t blocks = cover(x, keys, p.knob[head], sums) / p.block + 1;
      return static_cast<double>(min(max(blocks, static_cast<std::int64_t>(p.least_blocks)),
                                     static_cast<std::int64_t>(p.most_blocks)));
    };
    vertical = budget(columns);
    slash = budget(diagonals);
    float* const guess = out.guess + head * grid.blocks;
    const float* q = probe_mean + head * in.shape.head_dim;
    for (int c = threadIdx.x / 32; c < grid.blocks; c += kThreads / 32) {
      const float* k = k_means + (kv * grid.blocks + c) * in.shape.head_dim;
      float dot = 0;
      for (int d = threadIdx.x % 32; d < in.shape.head_dim; d += 32) dot = fmaf(q[d], k[d], dot);
      for (int step = 16; step > 0; step /= 2) dot += __shfl_xor_sync(~0u, dot, step);
      if (threadIdx.x % 32 == 0) guess[c] = dot * in.shape.softmax_scale;
    }
    __syncthreads();
    softmax(guess, grid.blocks, sums);
    double divergence = 0;  // an exact zero makes it NaN, which is not query-aware
    for (int c = threadIdx.x; c < grid.blocks; c += kThreads) {
      const double a = guess[c], b = column[c], mean = (a + b) / 2;
      divergence += 0.5 * a * log(a / mean) + 0.5 * b * log(b / mean);
    }
    query_aware = sqrt(Team<kThreads>::sum(divergence, sums)) < p.tau;
    if (query_aware) vertical = slash = p.least_blocks;
  }
  if (threadIdx.x == 0) out.query_aware[head] = query_aware;
  __syncthreads();
  const auto keep = [&](const float* x, int forced, double budget, std::uint32_t* bits) {
    const auto at = [&](std::int64_t n, float& value) {
      if (n >= grid.blocks) return false;
      value = n == forced ? INFINITY : x[n];
      return true;
    };
    const Cut cut = find_cut<Budget::count, Team<kThreads>>(grid.blocks, budget, sums, at);
    cut_words<kThreads>(
        cut, grid.words, counts,
        [&](std::int64_t word, int lane, float& value) { return at(word * 32 + lane, value); },
        [&](std::int64_t word, std::uint32_t on) { bits[head * grid.words + word] = on; });
  };
  keep(column, 0, vertical, out.column_bits);
  keep(diagonal, grid.blocks - 1, slash, out.distance_bits);
}

/// A warp writes one word of the grid: column c or distance r - c is on. dense: every causal block.
__global__ void __launch_bounds__(256)
    lines_kernel(BlockGrid grid, Decision found, bool dense, std::uint32_t* bits) {
  const std::int64_t word = blockIdx.x * std::int64_t{8} + threadIdx.x / 32;
  if (word >= static_cast<std::int64_t>(grid.heads) * grid.tiles * grid.words) return;
  const std::int64_t head = word / grid.words / grid.tiles;
  const int r = static_cast<int>(word / grid.words % grid.tiles);
  const int c = static_cast<int>(word % grid.words) * 32 + threadIdx.x % 32;
  bool on = c <= r;
  if (on && !dense) {
    const int t = grid.blocks - 1 - (r - c);
    on = found.column_bits[head * grid.words + c / 32] >> c % 32 & 1 ||
         found.distance_bits[head * grid.words + t / 32] >> t % 32 & 1;
  }
  const std::uint32_t mask = __ballot_sync(~0u, on);
  if (threadIdx.x % 32 == 0) bits[word] = mask;
}

/// Causal entries before tile r where only those are stored.
__device__ std::int64_t packed_row(std::int64_t r) { return r * (r + 1) / 2; }

/// Pooled attention of query-aware heads: a warp's tile, softmax over its causal blocks, packed.
__global__ void __launch_bounds__(256)
    row_softmax_kernel(BlockGrid grid, int first_head, int heads, const int* query_aware, float* scores,
                       float* shares) {
  const std::int64_t row = blockIdx.x * std::int64_t{8} + threadIdx.x / 32;
  if (row >= static_cast<std::int64_t>(heads) * grid.tiles || !query_aware[first_head + row / grid.tiles])
    return;
  const int causal = static_cast<int>(row % grid.tiles) + 1;
  float* const score = scores + row * grid.blocks;
  float* const share = shares + row / grid.tiles * packed_row(grid.tiles) + packed_row(causal - 1);
  float top = -INFINITY;
  for (int n = threadIdx.x % 32; n < causal; n += 32) top = fmaxf(top, score[n]);
  for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, step));
  double sum = 0;
  for (int n = threadIdx.x % 32; n < causal; n += 32)
    sum += static_cast<double>(score[n] = expf(score[n] - top));
  sum = Team<32>::sum<double>(sum, nullptr);
  for (int n = threadIdx.x % 32; n < causal; n += 32)
    share[n] = static_cast<float>(static_cast<double>(score[n]) / sum);
}

/// Adds the blocks of the longest prefix of a query-aware head's pooled attention that stays within gamma of
/// the whole. One block a head.
__global__ void __launch_bounds__(kThreads)
    query_aware_kernel(BlockGrid grid, int first_head, const int* query_aware, const double* gamma,
                       const float* shares, std::uint32_t* bits) {
  __shared__ double sums[kThreads / 32];
  __shared__ int counts[kThreads / 32];
  const int head = first_head + blockIdx.x;
  if (!query_aware[head]) return;
  const float* share = shares + blockIdx.x * packed_row(grid.tiles);
  const auto at = [&](std::int64_t n, float& value) {
    value = share[n];
    return true;
  };
  const Cut cut =
      find_cut<Budget::through, Team<kThreads>>(packed_row(grid.tiles), gamma[head] * grid.blocks, sums, at);
  std::uint32_t* to = bits + static_cast<std::int64_t>(head) * grid.tiles * grid.words;
  cut_words<kThreads>(
      cut, static_cast<std::int64_t>(grid.tiles) * grid.words, counts,
      [&](std::int64_t word, int lane, float& value) {
        const std::int64_t r = word / grid.words, c = word % grid.words * 32 + lane;
        return c <= r && at(packed_row(r) + c, value);
      },
      [&](std::int64_t word, std::uint32_t on) { to[word] |= on; });
}

struct Layout {
  Layout(const Tensors& in, const FlexPrefillParams& p, void* workspace)
      : grid(in.shape.q_heads, in.shape.kv_len, p.block, p.block),
        carver(workspace),
        probe(in, p.block, carver) {
    const std::int64_t dim = in.shape.head_dim,
                       cells = in.shape.q_heads * static_cast<std::int64_t>(grid.blocks);
    found.columns = carver.take<float>(cells);
    found.diagonals = carver.take<float>(cells);
    found.guess = carver.take<float>(cells);
    found.column_bits = carver.take<std::uint32_t>(in.shape.q_heads * static_cast<std::int64_t>(grid.words));
    found.distance_bits =
        carver.take<std::uint32_t>(in.shape.q_heads * static_cast<std::int64_t>(grid.words));
    found.query_aware = carver.take<int>(in.shape.q_heads);
    if (p.slash_blocks > 0) return;
    probe_mean = carver.take<float>(in.shape.q_heads * dim);
    q_means = carver.take<float>(cells * dim);
    k_means = carver.take<float>(in.shape.kv_heads * static_cast<std::int64_t>(grid.blocks) * dim);
    together = heads_at_once(in.shape, static_cast<std::int64_t>(grid.tiles) * grid.blocks * 4);
    scores = carver.take<float>(static_cast<std::int64_t>(together) * grid.tiles * grid.blocks);
    shares = carver.take<float>(together * (static_cast<std::int64_t>(grid.tiles) * (grid.tiles + 1) / 2));
  }
  BlockGrid grid;
  Carver carver;
  Probe probe;
  Decision found{};
  float *probe_mean = nullptr, *q_means = nullptr, *k_means = nullptr, *scores = nullptr, *shares = nullptr;
  int together = 1;
};

}  // namespace

std::size_t workspace_bytes(const Tensors& inputs, const FlexPrefillParams& params) {
  return Layout(inputs, params, nullptr).carver.used();
}

void flexprefill_select(const Tensors& in, const FlexPrefillParams& p, std::uint32_t* bits, void* workspace,
                        const Stream& stream) {
  const Layout layout(in, p, workspace);
  const BlockGrid& grid = layout.grid;
  CUstream_st* const on = stream.handle();
  const std::int64_t least = static_cast<std::int64_t>(p.least_blocks) * p.block;
  const bool fixed = p.slash_blocks > 0,
             dense = !fixed && grid.tokens <= max(2 * std::int64_t{p.block}, least);
  if (!dense) {
    run_probe(in, layout.probe, on);
    if (!fixed) {
      Tokens last = queries(in);
      last.data =
          static_cast<const char*>(last.data) + (last.tokens - layout.probe.rows) * last.stride_token * 2;
      last.tokens = layout.probe.rows;
      block_means(last, layout.probe.rows, false, layout.probe_mean, on);
      block_means(keys(in), p.block, false, layout.k_means, on);
    }
    decide_kernel<<<static_cast<unsigned>(grid.heads), kThreads, 0, on>>>(
        in, p, grid, layout.probe, layout.probe_mean, layout.k_means, layout.found);
    check_launch("decide_kernel");
  }
  lines_kernel<<<blocks_for(grid.rows() * grid.words, 8), 256, 0, on>>>(grid, layout.found, dense, bits);
  check_launch("lines_kernel");
  if (dense || fixed) return;
  block_means(queries(in), p.block, false, layout.q_means, on);
  const int* const aware = layout.found.query_aware;
  for (int head = 0; head < grid.heads; head += layout.together) {
    const int heads = min(layout.together, grid.heads - head);
    pooled_scores(grid, in.shape.head_dim, in.shape.softmax_scale, layout.q_means, layout.k_means,
                  in.shape.q_heads / in.shape.kv_heads, head, heads, aware, layout.scores, on);
    row_softmax_kernel<<<blocks_for(static_cast<std::int64_t>(heads) * grid.tiles, 8), 256, 0, on>>>(
        grid, head, heads, aware, layout.scores, layout.shares);
    check_launch("row_softmax_kernel");
    query_aware_kernel<<<static_cast<unsigned>(heads), kThreads, 0, on>>>(grid, head, aware, p.knob,
                                                                          layout.shares, bits);
    check_launch("query_aware_kernel");
  }
}

}  // namespace anchor::kernels
