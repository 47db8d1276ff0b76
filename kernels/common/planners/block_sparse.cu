#include "check.hpp"
#include "common/planners/cut.cuh"
#include "common/planners/grid.cuh"
#include "common/planners/scores.hpp"

// MInference's block-sparse head (rule: lib/anchor/method/block_sparse.cpp).
namespace anchor::kernels {
namespace {

constexpr int kThreads = 256;

/// A warp keeps the best blocks of one tile.
__global__ void __launch_bounds__(kThreads)
    rank_kernel(BlockGrid grid, int first_head, int heads, const float* scores, const double* knob,
                std::uint32_t* bits) {
  const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(kThreads / 32) + threadIdx.x / 32;
  if (row >= static_cast<std::int64_t>(heads) * grid.tiles) return;
  const int tile = static_cast<int>(row % grid.tiles), head = first_head + static_cast<int>(row / grid.tiles);
  const int causal = causal_blocks(grid, tile);
  const float* score = scores + row * grid.blocks;
  const auto at = [&](std::int64_t n, float& value) {
    value = score[n];
    return true;
  };
  const Cut cut = find_cut<Budget::count, Team<32>>(causal, knob[head], nullptr, at);
  const auto competes = [&](std::int64_t n, float& value) { return n < causal && at(n, value); };
  write_cut(
      cut, grid.words, competes, [](int, bool) { return false; },
      bits + (static_cast<std::int64_t>(head) * grid.tiles + tile) * grid.words);
}

struct Layout {
  Layout(const Tensors& in, const BlockSparseParams& p, void* workspace)
      : grid(in.shape.q_heads, in.shape.q_len, p.block, p.block),
        together(heads_at_once(in.shape, static_cast<std::int64_t>(grid.tiles) * grid.blocks * 4)),
        carver(workspace) {
    const std::int64_t per_head = static_cast<std::int64_t>(grid.blocks) * in.shape.head_dim;
    q_means = carver.take<float>(in.shape.q_heads * per_head);
    k_means = carver.take<float>(in.shape.kv_heads * per_head);
    scores = carver.take<float>(static_cast<std::int64_t>(together) * grid.tiles * grid.blocks);
  }
  BlockGrid grid;
  int together;
  Carver carver;
  float *q_means, *k_means, *scores;
};

}  // namespace

std::size_t workspace_bytes(const Tensors& inputs, const BlockSparseParams& params) {
  return Layout(inputs, params, nullptr).carver.used();
}

void block_sparse_select(const Tensors& in, const BlockSparseParams& p, std::uint32_t* bits, void* workspace,
                         const Stream& stream) {
  const Layout layout(in, p, workspace);
  const BlockGrid& grid = layout.grid;
  block_means(queries(in), p.block, p.zero_padded, layout.q_means, stream.handle());
  block_means(keys(in), p.block, p.zero_padded, layout.k_means, stream.handle());
  for (int head = 0; head < in.shape.q_heads; head += layout.together) {
    const int heads = min(layout.together, in.shape.q_heads - head);
    pooled_scores(grid, in.shape.head_dim, 1, layout.q_means, layout.k_means,
                  in.shape.q_heads / in.shape.kv_heads, head, heads, nullptr, layout.scores, stream.handle());
    const std::int64_t rows = static_cast<std::int64_t>(heads) * grid.tiles;
    rank_kernel<<<blocks_for(rows, kThreads / 32), kThreads, 0, stream.handle()>>>(
        grid, head, heads, layout.scores, p.knob, bits);
    check_launch("rank_kernel");
  }
}

}  // namespace anchor::kernels
