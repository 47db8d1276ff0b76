#include "check.hpp"
#include "common/planners/grid.cuh"
#include "common/planners/scores.hpp"
#include "sm80/tiles.cuh"

// FlashPrefill's selection (rule: lib/anchor/method/flashprefill.cpp). A tile's weight of a block is the
// log-sum-exp of its rows' scores: the shared maximum of the rule cancels in the comparison.
namespace anchor::kernels {
namespace {

using namespace sm80;

constexpr int kRows = 128, kBlockTile = 64;

struct Pack {
  BlockGrid grid;
  int heads;  ///< query heads of a tile
};

/// A mean key as the sum of two 16-bit numbers, so that its scores are exact to about 2^-16.
template <Element element>
__global__ void __launch_bounds__(256)
    split_kernel(const float* means, std::int64_t count, void* high, void* low) {
  using T = typename ElementTraits<element>::Type;
  const std::int64_t n = blockIdx.x * std::int64_t{256} + threadIdx.x;
  if (n >= count) return;
  const T rounded = ElementTraits<element>::from_float(means[n]);
  static_cast<T*>(high)[n] = rounded;
  static_cast<T*>(low)[n] =
      ElementTraits<element>::from_float(means[n] - ElementTraits<element>::to_float(rounded));
}

/// Tile gridDim.x - 1 - x of pack first_pack + y against all blocks before it.
template <Element element, int head_dim>
__global__ void __launch_bounds__(Warps<head_dim>::threads)
    weights_kernel(Tensors in, Pack pack, int first_pack, const void* high, const void* low, float* weights) {
  using Warp = Warps<head_dim>;
  using Scalar = typename ElementTraits<element>::Type;
  constexpr int m_tiles = Warp::m_tiles, k_steps = head_dim / 16, n_tiles = kBlockTile / 8;
  constexpr int part_bytes = kBlockTile * head_dim * 2, stage_bytes = 2 * part_bytes;
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ float2 parts[Warp::count][kBlockTile];
  const BlockGrid& grid = pack.grid;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int tile = gridDim.x - 1 - blockIdx.x, past = past_blocks(grid, tile);
  if (past == 0) return;
  const int first_head = (first_pack + blockIdx.y) * pack.heads;
  const std::int64_t kv_head = first_head / (in.shape.q_heads / in.shape.kv_heads);

  const TileCopy<head_dim, Warp::threads> copy;
  const unsigned ring = shared_address(shared);
  const std::int64_t base = kv_head * grid.blocks * head_dim * 2 + copy.column * 16;
  const auto load = [&](int block, unsigned stage) {
    if (block < past) {
#pragma unroll
      for (int row = 0; row < kBlockTile; row += copy.step) {
        const int c = block + copy.row + row;
        const std::int64_t from = base + static_cast<std::int64_t>(min(c, past - 1)) * copy.row_bytes;
        const unsigned to = ring + copy.offset() + stage + row * copy.row_bytes;
        copy16(to, static_cast<const char*>(high) + from, c < past);
        copy16(to + part_bytes, static_cast<const char*>(low) + from, c < past);
      }
    }
    commit_copies();
  };
  load(0, 0);

  Operand<m_tiles, k_steps> q;
  bool real[2 * m_tiles];
#pragma unroll
  for (int r = 0; r < 2 * m_tiles; ++r) {
    const int row = warp * Warp::rows + lane / 4 + 8 * r, member = row / grid.q_tile;
    const std::int64_t position = static_cast<std::int64_t>(tile) * grid.q_tile + row % grid.q_tile;
    real[r] = member < pack.heads && position < grid.tokens;
    const auto* from =
        reinterpret_cast<const unsigned*>(static_cast<const Scalar*>(in.q) +
                                          (first_head + min(member, pack.heads - 1)) * in.stride_q_head +
                                          min(position, grid.tokens - 1) * in.stride_q_token) +
        lane % 4;
#pragma unroll
    for (int k = 0; k < k_steps; ++k) {
      q.registers[r / 2][k][r % 2] = from[k * 8];
      q.registers[r / 2][k][r % 2 + 2] = from[k * 8 + 4];
    }
  }
  const float scale = in.shape.softmax_scale * log2e;
  const unsigned k_lane = ring + lane_offset<head_dim>();
  float* const to = weights + (static_cast<std::int64_t>(blockIdx.y) * grid.tiles + tile) * grid.blocks;
  unsigned stage = 0;
  for (int block = 0; block < past; block += kBlockTile, stage ^= stage_bytes) {
    load(block + kBlockTile, stage ^ stage_bytes);
    wait_copies<1>();
    __syncthreads();
    float score[m_tiles][n_tiles][4];
    multiply_tile<element>(score, q, k_lane, stage);
    multiply_tile<element, true>(score, q, k_lane, stage + part_bytes);
#pragma unroll
    for (int n = 0; n < n_tiles; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float top = -INFINITY, sum = 0;
#pragma unroll
        for (int r = 0; r < 2 * m_tiles; ++r) {
          float& s = score[r / 2][n][r % 2 * 2 + e];
          s = real[r] ? s * scale : -INFINITY;
          top = fmaxf(top, s);
        }
        for (int step = 4; step < 32; step *= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, step));
#pragma unroll
        for (int r = 0; r < 2 * m_tiles; ++r)
          sum += top == -INFINITY ? 0 : exp2_approx(score[r / 2][n][r % 2 * 2 + e] - top);
        for (int step = 4; step < 32; step *= 2) sum += __shfl_xor_sync(~0u, sum, step);
        if (lane < 4) parts[warp][n * 8 + lane * 2 + e] = make_float2(top, sum);
      }
    __syncthreads();
    if (threadIdx.x < kBlockTile && block + threadIdx.x < past) {
      float top = -INFINITY, sum = 0;
      for (int w = 0; w < Warp::count; ++w) top = fmaxf(top, parts[w][threadIdx.x].x);
      for (int w = 0; w < Warp::count; ++w) {
        const float2 part = parts[w][threadIdx.x];
        if (part.y > 0) sum += part.y * exp2f(part.x - top);
      }
      to[block + threadIdx.x] = (top + log2f(sum)) * ln2;
    }
  }
}

template <Element element, int head_dim>
void run_weights(const Tensors& in, const Pack& pack, int first, int packs, const void* high, const void* low,
                 float* weights, CUstream_st* stream) {
  constexpr int shared_bytes = 4 * kBlockTile * head_dim * 2;
  const auto kernel = weights_kernel<element, head_dim>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  kernel<<<dim3(static_cast<unsigned>(pack.grid.tiles), static_cast<unsigned>(packs)),
           Warps<head_dim>::threads, shared_bytes, stream>>>(in, pack, first, high, low, weights);
  check_launch("weights_kernel");
}

template <Element element>
void run_weights(const Tensors& in, const Pack& pack, int first, int packs, const void* high, const void* low,
                 float* weights, CUstream_st* stream) {
  if (in.shape.head_dim == 64)
    return run_weights<element, 64>(in, pack, first, packs, high, low, weights, stream);
  if (in.shape.head_dim == 128)
    return run_weights<element, 128>(in, pack, first, packs, high, low, weights, stream);
  run_weights<element, 256>(in, pack, first, packs, high, low, weights, stream);
}

/// The mean query of all heads of a pack.
__global__ void __launch_bounds__(256) pack_means_kernel(const float* means, int heads, std::int64_t per_head,
                                                         std::int64_t count, float* packed) {
  const std::int64_t n = blockIdx.x * std::int64_t{256} + threadIdx.x;
  if (n >= count) return;
  float sum = 0;
  for (int h = 0; h < heads; ++h) sum += means[(n / per_head * heads + h) * per_head + n % per_head];
  packed[n] = sum / static_cast<float>(heads);
}

/// A warp's tile keeps blocks within ln(alpha) of its heaviest, and the forced ones.
__global__ void __launch_bounds__(256) select_kernel(BlockGrid grid, FlashPrefillParams p, int first_pack,
                                                     int packs, const float* weights, std::uint32_t* bits) {
  const std::int64_t row = blockIdx.x * std::int64_t{8} + threadIdx.x / 32;
  if (row >= static_cast<std::int64_t>(packs) * grid.tiles) return;
  const int tile = static_cast<int>(row % grid.tiles), local = static_cast<int>(row / grid.tiles);
  const int past = past_blocks(grid, tile), causal = causal_blocks(grid, tile), lane = threadIdx.x % 32;
  const float* weight = weights + row * grid.blocks;
  float top = -INFINITY;
  for (int c = lane; c < past; c += 32) top = fmaxf(top, weight[c]);
  for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, step));
  const auto least = static_cast<float>(log(p.knob[(first_pack + local) * p.packed_heads]));
  const std::int64_t reach =
      max(std::int64_t{0}, static_cast<std::int64_t>(tile) * grid.q_tile - p.window + 1);
  const std::int64_t sink = (p.sink + p.block - 1) / p.block;
  const std::int64_t near = min(reach / p.block, static_cast<std::int64_t>(past));
  std::uint32_t* to = bits + (static_cast<std::int64_t>(first_pack + local) * grid.tiles + tile) * grid.words;
  for (int w = 0; w < grid.words; ++w) {
    const int c = w * 32 + lane;
    const bool forced = c < causal && (c < sink || c >= near);
    const std::uint32_t word = __ballot_sync(~0u, forced || (c < past && weight[c] - top >= least));
    if (lane == 0) to[w] = word;
  }
}

struct Layout {
  Layout(const Tensors& in, const FlashPrefillParams& p, void* workspace)
      : pack{BlockGrid(in.shape.q_heads / p.packed_heads, in.shape.kv_len, p.block / p.packed_heads, p.block),
             p.packed_heads},
        carver(workspace) {
    const BlockGrid& grid = pack.grid;
    Shape packs = in.shape;
    packs.q_heads = grid.heads;
    packs.kv_heads = min(packs.kv_heads, packs.q_heads);
    together = heads_at_once(packs, static_cast<std::int64_t>(grid.tiles) * grid.blocks * 4);
    keys = in.shape.kv_heads * static_cast<std::int64_t>(grid.blocks) * in.shape.head_dim;
    per_head = static_cast<std::int64_t>(grid.tiles) * in.shape.head_dim;
    k_means = carver.take<float>(keys);
    high = carver.take<unsigned short>(p.exact ? keys : 0);
    low = carver.take<unsigned short>(p.exact ? keys : 0);
    q_means = carver.take<float>(p.exact ? 0 : in.shape.q_heads * per_head);
    pack_means = carver.take<float>(p.exact ? 0 : grid.heads * per_head);
    weights = carver.take<float>(static_cast<std::int64_t>(together) * grid.tiles * grid.blocks);
  }
  Pack pack;
  Carver carver;
  int together;
  std::int64_t keys, per_head;
  float *k_means, *q_means, *pack_means, *weights;
  unsigned short *high, *low;
};

}  // namespace

const char* unsupported(const Tensors&, const FlashPrefillParams& params) {
  return params.exact && params.block > kRows ? "blocks of at most 128 keys" : nullptr;
}

std::size_t workspace_bytes(const Tensors& inputs, const FlashPrefillParams& params) {
  return Layout(inputs, params, nullptr).carver.used();
}

void flashprefill_select(const Tensors& in, const FlashPrefillParams& p, std::uint32_t* bits, void* workspace,
                         const Stream& stream) {
  const Layout layout(in, p, workspace);
  const BlockGrid& grid = layout.pack.grid;
  CUstream_st* const on = stream.handle();
  const bool bf16 = in.shape.element == Element::bf16;
  block_means(keys(in), p.block, false, layout.k_means, on);
  if (p.exact) {
    const auto split = bf16 ? split_kernel<Element::bf16> : split_kernel<Element::f16>;
    split<<<blocks_for(layout.keys, 256), 256, 0, on>>>(layout.k_means, layout.keys, layout.high, layout.low);
    check_launch("split_kernel");
  } else {
    block_means(queries(in), grid.q_tile, false, layout.q_means, on);
    const std::int64_t count = grid.heads * layout.per_head;
    pack_means_kernel<<<blocks_for(count, 256), 256, 0, on>>>(layout.q_means, p.packed_heads, layout.per_head,
                                                              count, layout.pack_means);
    check_launch("pack_means_kernel");
  }
  for (int first = 0; first < grid.heads; first += layout.together) {
    const int packs = min(layout.together, grid.heads - first);
    if (!p.exact)
      pooled_scores(grid, in.shape.head_dim, in.shape.softmax_scale, layout.pack_means, layout.k_means,
                    grid.heads / in.shape.kv_heads, first, packs, nullptr, layout.weights, on);
    else if (bf16)
      run_weights<Element::bf16>(in, layout.pack, first, packs, layout.high, layout.low, layout.weights, on);
    else
      run_weights<Element::f16>(in, layout.pack, first, packs, layout.high, layout.low, layout.weights, on);
    select_kernel<<<blocks_for(static_cast<std::int64_t>(packs) * grid.tiles, 8), 256, 0, on>>>(
        grid, p, first, packs, layout.weights, bits);
    check_launch("select_kernel");
  }
}

}  // namespace anchor::kernels
