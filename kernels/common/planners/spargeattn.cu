#include "check.hpp"
#include "common/planners/cut.cuh"
#include "common/planners/grid.cuh"
#include "common/planners/scores.hpp"
#include "device/element.cuh"

// SpargeAttn's selection (rule: lib/anchor/method/spargeattn.cpp).
namespace anchor::kernels {
namespace {

constexpr int kQueryTile = 128, kKeyBlock = 64, kWarps = 8;
constexpr std::int64_t kLeastLength = 128;

/// Is the mean cosine of all pairs of rows of block x of head y above the threshold? A zero row makes it NaN:
/// no.
template <Element element>
__global__ void __launch_bounds__(128)
    similar_kernel(Tokens x, int block, const float* shift, double threshold, unsigned char* similar) {
  using T = typename ElementTraits<element>::Type;
  __shared__ float sums[4][256];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, steps = x.head_dim / 32;
  const std::int64_t head = blockIdx.y, begin = static_cast<std::int64_t>(blockIdx.x) * block;
  const int rows = static_cast<int>(min(static_cast<std::int64_t>(block), x.tokens - begin));
  float sum[8] = {}, off[8] = {};
  if (shift)
    for (int i = 0; i < steps; ++i) off[i] = shift[head * x.head_dim + i * 32 + lane];
  const T* const from = static_cast<const T*>(x.data) + head * x.stride_head + begin * x.stride_token;
  for (int r = warp; r < rows; r += 4) {
    float value[8], square = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i >= steps) break;
      value[i] = ElementTraits<element>::to_float(from[r * x.stride_token + i * 32 + lane]) - off[i];
      square = fmaf(value[i], value[i], square);
    }
    for (int step = 16; step > 0; step /= 2) square += __shfl_xor_sync(~0u, square, step);
    const float norm = sqrtf(square);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i >= steps) break;
      sum[i] += value[i] / norm;
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i)
    if (i < steps) sums[warp][i * 32 + lane] = sum[i];
  __syncthreads();
  if (warp > 0) return;
  double square = 0;
  for (int d = lane; d < x.head_dim; d += 32) {
    const double total = static_cast<double>(sums[0][d]) + sums[1][d] + sums[2][d] + sums[3][d];
    square += total * total;
  }
  square = Team<32>::sum<double>(square, nullptr);
  if (lane == 0)
    similar[head * gridDim.x + blockIdx.x] = square / (static_cast<double>(rows) * rows) > threshold;
}

void find_similar(const Tokens& x, int block, const float* shift, double threshold, unsigned char* similar,
                  CUstream_st* stream) {
  const dim3 grid(blocks_for(x.tokens, block), static_cast<unsigned>(x.heads));
  if (x.element == Element::bf16)
    similar_kernel<Element::bf16><<<grid, 128, 0, stream>>>(x, block, shift, threshold, similar);
  else
    similar_kernel<Element::f16><<<grid, 128, 0, stream>>>(x, block, shift, threshold, similar);
  check_launch("similar_kernel");
}

__global__ void __launch_bounds__(256)
    shift_means_kernel(float* means, const float* shift, std::int64_t per_head, int head_dim,
                       std::int64_t count) {
  const std::int64_t n = blockIdx.x * std::int64_t{256} + threadIdx.x;
  if (n < count) means[n] -= shift[n / per_head * head_dim + n % head_dim];
}

/// A warp's tile: similar blocks share its pooled attention and compete; the others are kept.
__global__ void __launch_bounds__(kWarps * 32)
    select_kernel(BlockGrid grid, SpargeAttnParams p, int heads_per_kv, int first_head, int heads,
                  const unsigned char* q_similar, const unsigned char* k_similar, float* scores,
                  std::uint32_t* bits) {
  const std::int64_t row = blockIdx.x * std::int64_t{kWarps} + threadIdx.x / 32;
  if (row >= static_cast<std::int64_t>(heads) * grid.tiles) return;
  const int tile = static_cast<int>(row % grid.tiles), head = first_head + static_cast<int>(row / grid.tiles);
  const int causal = causal_blocks(grid, tile), lane = threadIdx.x % 32;
  const bool all =
      grid.tokens < kLeastLength || !q_similar[static_cast<std::int64_t>(head) * grid.tiles + tile];
  const unsigned char* similar = k_similar + static_cast<std::int64_t>(head / heads_per_kv) * grid.blocks;
  float* const score = scores + row * grid.blocks;
  const auto open = [&](std::int64_t c) { return !all && c < causal && similar[c]; };

  float top = -INFINITY;
  for (int c = lane; c < causal; c += 32)
    if (open(c)) top = fmaxf(top, score[c]);
  for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, step));
  double sum = 0;
  for (int c = lane; c < causal; c += 32)
    if (open(c)) sum += static_cast<double>(expf(score[c] - top));
  sum = Team<32>::sum<double>(sum, nullptr);
  float best = -1;
  int best_block = INT32_MAX;
  for (int c = lane; c < causal; c += 32) {
    if (!open(c)) continue;
    score[c] = static_cast<float>(static_cast<double>(expf(score[c] - top)) / sum);
    if (score[c] > best) best = score[c], best_block = c;
  }
  warp_best(best, best_block);
  __syncwarp();
  const auto at = [&](std::int64_t c, float& value) {
    if (!open(c)) return false;
    value = score[c];
    return true;
  };
  const double knob = p.knob[head];
  const Cut cut = p.topk
                      ? find_cut<Budget::count, Team<32>>(causal, floor(knob * grid.blocks), nullptr, at)
                      : find_cut<Budget::through, Team<32>>(causal, knob >= 1 ? INFINITY : knob, nullptr, at);
  // A tile that selects its second diagonal block alone would leave its first rows without keys: then the
  // first one is kept as well.
  const int first_diagonal = past_blocks(grid, tile);
  bool fixed = best_block <= first_diagonal;
  for (int c = lane; c <= first_diagonal && c < causal; c += 32) fixed |= !open(c);
  fixed = __any_sync(~0u, fixed);
  std::int64_t ties = 0;
  for (int first = 0; !fixed && first <= first_diagonal; first += 32) {  // does the cut take one of them?
    float value = 0;
    const bool competes = at(first + lane, value);
    const std::uint32_t word = cut_word(cut, competes, value, ties);
    const int last = first_diagonal - first;
    fixed = (word & (last >= 31 ? ~0u : (2u << last) - 1)) != 0;
  }
  const auto always = [&](int c, bool competes) {
    return c < causal && (!competes || c == best_block || (!fixed && c == first_diagonal));
  };
  write_cut(cut, grid.words, at, always,
            bits + (static_cast<std::int64_t>(head) * grid.tiles + tile) * grid.words);
}

struct Layout {
  Layout(const Tensors& in, void* workspace)
      : grid(in.shape.q_heads, in.shape.kv_len, kQueryTile, kKeyBlock),
        together(heads_at_once(in.shape, static_cast<std::int64_t>(grid.tiles) * grid.blocks * 4)),
        carver(workspace) {
    const std::int64_t dim = in.shape.head_dim,
                       kv_blocks = in.shape.kv_heads * static_cast<std::int64_t>(grid.blocks);
    q_means = carver.take<float>(grid.rows() * dim);
    k_means = carver.take<float>(kv_blocks * dim);
    k_shift = carver.take<float>(in.shape.kv_heads * dim);
    q_similar = carver.take<unsigned char>(grid.rows());
    k_similar = carver.take<unsigned char>(kv_blocks);
    scores = carver.take<float>(static_cast<std::int64_t>(together) * grid.tiles * grid.blocks);
  }
  BlockGrid grid;
  int together;
  Carver carver;
  float *q_means, *k_means, *k_shift, *scores;
  unsigned char *q_similar, *k_similar;
};

}  // namespace

std::size_t workspace_bytes(const Tensors& inputs, const SpargeAttnParams&) {
  return Layout(inputs, nullptr).carver.used();
}

void spargeattn_select(const Tensors& in, const SpargeAttnParams& p, std::uint32_t* bits, void* workspace,
                       const Stream& stream) {
  const Layout layout(in, workspace);
  const BlockGrid& grid = layout.grid;
  CUstream_st* const on = stream.handle();
  const Tokens q = queries(in), k = keys(in);
  block_means(q, kQueryTile, false, layout.q_means, on);
  block_means(k, kKeyBlock, false, layout.k_means, on);
  if (p.smooth_k) {
    sequence_means(k, kKeyBlock, layout.k_means, layout.k_shift, on);
    const std::int64_t per_head = static_cast<std::int64_t>(grid.blocks) * k.head_dim,
                       count = k.heads * per_head;
    shift_means_kernel<<<blocks_for(count, 256), 256, 0, on>>>(layout.k_means, layout.k_shift, per_head,
                                                               k.head_dim, count);
    check_launch("shift_means_kernel");
  }
  find_similar(q, kQueryTile, nullptr, p.similarity, layout.q_similar, on);
  find_similar(k, kKeyBlock, p.smooth_k ? layout.k_shift : nullptr, p.similarity, layout.k_similar, on);
  const int ratio = in.shape.q_heads / in.shape.kv_heads;
  for (int head = 0; head < grid.heads; head += layout.together) {
    const int heads = min(layout.together, grid.heads - head);
    pooled_scores(grid, in.shape.head_dim, in.shape.softmax_scale, layout.q_means, layout.k_means, ratio,
                  head, heads, nullptr, layout.scores, on);
    select_kernel<<<blocks_for(static_cast<std::int64_t>(heads) * grid.tiles, kWarps), kWarps * 32, 0, on>>>(
        grid, p, ratio, head, heads, layout.q_similar, layout.k_similar, layout.scores, bits);
    check_launch("select_kernel");
  }
}

}  // namespace anchor::kernels
