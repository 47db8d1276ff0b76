#include "check.hpp"
#include "common/planners/cut.cuh"
#include "common/planners/grid.cuh"
#include "common/planners/xattention.cuh"
#include "dispatch.hpp"
#include "sm80/tiles.cuh"

// XAttention (rule: lib/anchor/method/xattention.cpp): a product of cells of `stride` tokens, 1/stride of a
// QK pass. Only the log-sum-exp of a cell row over each block leaves the multiprocessor.
namespace anchor::kernels {
namespace {

using namespace sm80;

constexpr int kTile = 128, kDepth = 64, kStages = 3, kThreads = 256;
constexpr int kTileBytes = kTile * kDepth * 2, kStageBytes = 2 * kTileBytes;

/// Row cells [128 y, ...) against column cells [128 x, ...) of head z of the chunk. `octets` n tiles of 8
/// columns make a block. A warp computes 32 x 64.
template <Element element, int octets>
__global__ void __launch_bounds__(kThreads, 2)
    cells_kernel(Tensors in, const __grid_constant__ XAttentionCells cells) {
  extern __shared__ __align__(1024) unsigned char shared[];
  const int first_row = blockIdx.y * kTile, first_column = blockIdx.x * kTile;
  if (first_column > first_row + kTile - 1) return;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warp_row = warp / 2 * 32,
            warp_column = warp % 2 * 64;
  const int head = cells.head(blockIdx.z), kv_head = head / (in.shape.q_heads / in.shape.kv_heads);
  const int dim = in.shape.head_dim, tokens = static_cast<int>(in.shape.kv_len), stride = cells.stride;
  const char* const q = static_cast<const char*>(in.q) + head * in.stride_q_head * 2;
  const char* const k = static_cast<const char*>(in.k) + kv_head * in.stride_kv_head * 2;

  const TileCopy<kDepth, kThreads> copy;
  const unsigned ring = shared_address(shared);
  const int steps = stride * dim / kDepth, per_token = dim / kDepth;
  const auto load = [&](int step, unsigned stage) {
    if (step < steps) {
      const int a = step / per_token;  // token of the query cell; the key cell runs backwards
      const int column_bytes = step % per_token * kDepth * 2 + copy.column * 16;
#pragma unroll
      for (int row = 0; row < kTile; row += copy.step) {
        const int x = (first_row + copy.row + row) * stride + a;
        const int y = (first_column + copy.row + row) * stride + stride - 1 - a;
        const unsigned to = ring + stage + copy.offset() + row * copy.row_bytes;
        copy16(to, q + min(x, tokens - 1) * in.stride_q_token * 2 + column_bytes, x < tokens);
        copy16(to + kTileBytes, k + min(y, tokens - 1) * in.stride_kv_token * 2 + column_bytes, y < tokens);
      }
    }
    commit_copies();
  };
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) load(s, s * kStageBytes);

  float z[2][8][4] = {};
  // ldmatrix of the A operand: lanes 0-15 name rows, lanes 16-31 the same rows 8 elements on.
  const unsigned a_row = warp_row + lane % 16;
  const unsigned a_lane = ring + a_row * kDepth * 2 + (((lane >> 4) ^ (a_row & 7)) << 4);
  const unsigned b_lane = ring + kTileBytes + warp_column * kDepth * 2 + lane_offset<kDepth>();
  unsigned stage = 0, load_stage = (kStages - 1) * kStageBytes;
  for (int step = 0; step < steps; ++step) {
    wait_copies<kStages - 2>();
    __syncthreads();
    load(step + kStages - 1, load_stage);
    load_stage = load_stage == (kStages - 1) * kStageBytes ? 0 : load_stage + kStageBytes;
#pragma unroll
    for (int kk = 0; kk < kDepth / 16; ++kk) {
      unsigned a[2][4];
#pragma unroll
      for (int m = 0; m < 2; ++m) load_matrices(a[m], (a_lane ^ (kk * 32)) + stage + m * 16 * kDepth * 2);
#pragma unroll
      for (int n = 0; n < 8; n += 2) {
        unsigned b[4];
        load_matrices(b, (b_lane ^ (kk * 32)) + stage + n * 8 * kDepth * 2);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          multiply<element>(z[m][n], a[m], b[0], b[1]);
          multiply<element>(z[m][n + 1], a[m], b[2], b[3]);
        }
      }
    }
    stage = stage == (kStages - 1) * kStageBytes ? 0 : stage + kStageBytes;
  }

  const float scale = cells.scale * log2e;
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int x = first_row + warp_row + lane / 4 + 8 * r;
#pragma unroll
    for (int n = 0; n < 8; n += octets) {
      float top = -INFINITY;
#pragma unroll
      for (int o = 0; o < octets; ++o)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& s = z[r / 2][n + o][r % 2 * 2 + e];
          const int y = first_column + warp_column + (n + o) * 8 + lane % 4 * 2 + e;
          s = y <= x ? s * scale : -INFINITY;
          top = fmaxf(top, s);
        }
      top = quad_max(top);
      float sum = 0;
#pragma unroll
      for (int o = 0; o < octets; ++o)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          sum += top == -INFINITY ? 0 : exp2_approx(z[r / 2][n + o][r % 2 * 2 + e] - top);
      sum = quad_sum(sum);
      const int block = (first_column + warp_column + n * 8) / (8 * octets);
      if (lane % 4 == 0 && x < cells.count && block < cells.blocks)
        cells.lse[(static_cast<std::int64_t>(blockIdx.z) * cells.count + x) * cells.blocks + block] =
            top == -INFINITY ? -INFINITY : top + log2f(sum);
    }
  }
}

template <Element element>
void run(const Tensors& in, const XAttentionCells& cells, int heads, CUstream_st* stream) {
  if (takes_sm90()) return sm90::xattention_cells<element>(in, cells, heads, stream);
  const auto kernel = cells.per_block == 8    ? cells_kernel<element, 1>
                      : cells.per_block == 16 ? cells_kernel<element, 2>
                                              : cells_kernel<element, 4>;
  constexpr int shared_bytes = kStages * kStageBytes;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  const unsigned side = blocks_for(cells.count, kTile);
  kernel<<<dim3(side, side, static_cast<unsigned>(heads)), kThreads, shared_bytes, stream>>>(in, cells);
  check_launch("cells_kernel");
}

constexpr int kWarps = 8;

/// A warp's tile: shares of its cell rows per block, then blocks 0 and r, and others while the mass before
/// them is below tau of the whole.
__global__ void __launch_bounds__(kWarps * 32)
    select_kernel(BlockGrid grid, const __grid_constant__ XAttentionCells cells, int heads, const double* tau,
                  float* scores, std::uint32_t* bits) {
  __shared__ float row_lse[kWarps][32];
  const std::int64_t row = blockIdx.x * std::int64_t{kWarps} + threadIdx.x / 32;
  if (row >= static_cast<std::int64_t>(heads) * grid.tiles) return;
  const int tile = static_cast<int>(row % grid.tiles), local = static_cast<int>(row / grid.tiles);
  const int causal = tile + 1;
  float* const score = scores + row * grid.blocks;
  double total = 0;
  block_masses(cells, local, tile, row_lse[threadIdx.x / 32], [&](int c, float mass) {
    score[c] = mass;
    total += static_cast<double>(mass);
  });
  total = Team<32>::sum<double>(total, nullptr);
  __syncwarp();
  const auto at = [&](std::int64_t n, float& value) {
    if (n >= causal || n == 0 || n == tile) return false;
    value = score[n];
    return true;
  };
  const int head = cells.head(local);
  const double forced = static_cast<double>(score[0]) + (tile > 0 ? static_cast<double>(score[tile]) : 0);
  const Cut cut = find_cut<Budget::before, Team<32>>(causal, tau[head] * total - forced, nullptr, at);
  write_cut(
      cut, grid.words, at, [&](int c, bool) { return c == 0 || c == tile; },
      bits + (static_cast<std::int64_t>(head) * grid.tiles + tile) * grid.words);
}

struct Layout {
  Layout(const Tensors& in, const XAttentionParams& p, void* workspace)
      : grid(in.shape.q_heads, in.shape.kv_len, p.block, p.block), carver(workspace) {
    HeadSet all;
    for (int head = 0; head < in.shape.q_heads; ++head) all.add(head);
    cells = XAttentionCells(in.shape, p.block, p.stride, all);
    together = heads_at_once(in.shape, static_cast<std::int64_t>(cells.lse_bytes()));
    cells.lse = carver.take<float>(static_cast<std::int64_t>(together) * cells.count * grid.blocks);
    scores = carver.take<float>(static_cast<std::int64_t>(together) * grid.tiles * grid.blocks);
  }
  BlockGrid grid;
  Carver carver;
  XAttentionCells cells;
  int together = 1;
  float* scores;
};

}  // namespace

void run_cells(const Tensors& in, const XAttentionCells& cells, int heads, CUstream_st* stream) {
  in.shape.element == Element::bf16 ? run<Element::bf16>(in, cells, heads, stream)
                                    : run<Element::f16>(in, cells, heads, stream);
}

const char* unsupported(const Tensors& inputs, const XAttentionParams& params) {
  if (inputs.shape.q_heads > HeadSet::most) return "more than 256 heads";
  const int cells = params.block / params.stride;
  if (params.block % params.stride || (cells != 8 && cells != 16 && cells != 32))
    return "block / stride must be 8, 16 or 32";
  return nullptr;
}

std::size_t workspace_bytes(const Tensors& inputs, const XAttentionParams& params) {
  return Layout(inputs, params, nullptr).carver.used();
}

void xattention_select(const Tensors& in, const XAttentionParams& p, std::uint32_t* bits, void* workspace,
                       const Stream& stream) {
  const Layout layout(in, p, workspace);
  XAttentionCells cells = layout.cells;
  for (int head = 0; head < in.shape.q_heads; head += layout.together) {
    const int heads = min(layout.together, in.shape.q_heads - head);
    cells.first_head = head;
    run_cells(in, cells, heads, stream.handle());
    const std::int64_t rows = static_cast<std::int64_t>(heads) * layout.grid.tiles;
    select_kernel<<<blocks_for(rows, kWarps), kWarps * 32, 0, stream.handle()>>>(layout.grid, cells, heads,
                                                                                 p.knob, layout.scores, bits);
    check_launch("select_kernel");
  }
}

}  // namespace anchor::kernels
