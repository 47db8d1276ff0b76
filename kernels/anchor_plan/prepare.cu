#include "anchor_plan/prepare.hpp"
#include "anchor_layout.hpp"
#include "check.hpp"
#include "device/element.cuh"

namespace anchor::kernels {
namespace {

/// The block lists: functions of the shape alone, one thread per plan row.
__global__ void region_kernel(AnchorParams p, AnchorGroups groups) {
  const std::int64_t row = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  if (row > p.shape.q_heads * groups.count) return;
  const std::int64_t head = row / groups.count, g = row % groups.count;
  const std::int64_t first = head * groups.blocks_before(groups.count) + groups.blocks_before(g);
  p.block_offsets[row] = first;
  if (row == p.shape.q_heads * groups.count) return;
  const std::int64_t before_hole = groups.hole_begin() / groups.block, hole = groups.hole_end(g);
  for (std::int64_t n = 0; n < groups.blocks(g); ++n) {
    const bool window = hole > groups.hole_begin() && n >= before_hole;
    p.blocks[first + n] =
        static_cast<std::int32_t>(window ? hole + (n - before_hole) * groups.block : n * groups.block);
  }
}

/// Where element (row, column) of a 64-row matrix operand lies among the registers of its 128 threads.
__device__ std::int64_t fragment_index(std::int64_t tile, int row, int column, int head_dim) {
  const int in_warp = row % 16, in_step = column % 16;
  const int lane = in_warp % 8 * 4 + in_step % 8 / 2, reg = in_step / 8 * 2 + in_warp / 8;
  return ((((tile * 4 + row / 16) * (head_dim / 16) + column / 16) * 32 + lane) * 4 + reg) * 2 + column % 2;
}

/// Mean query and mean row anchor of one pooled block: block x of head y.
template <Element element>
__global__ void __launch_bounds__(128) pool_kernel(AnchorParams p, AnchorGroups groups, AnchorLayout layout) {
  using T = typename ElementTraits<element>::Type;
  __shared__ float sums[128 * 8];
  __shared__ float anchors[4];
  const int thread = threadIdx.x, head_dim = p.shape.head_dim;
  const int chunks = head_dim / 8, chunk = thread % chunks, lane = thread / chunks, lanes = 128 / chunks;
  const std::int64_t head = blockIdx.y, begin = static_cast<std::int64_t>(blockIdx.x) * p.block;
  const int rows = static_cast<int>(min(static_cast<std::int64_t>(p.block), p.shape.q_len - begin));

  const T* q = static_cast<const T*>(p.q) + head * p.stride_q_head + begin * p.stride_q_token + chunk * 8;
  float sum[8] = {};
#pragma unroll 8
  for (int r = lane; r < rows; r += lanes) {
    const uint4 packed = *reinterpret_cast<const uint4*>(q + r * p.stride_q_token);
    const T* values = reinterpret_cast<const T*>(&packed);
#pragma unroll
    for (int i = 0; i < 8; ++i) sum[i] += ElementTraits<element>::to_float(values[i]);
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) sums[thread * 8 + i] = sum[i];

  float anchor = 0;
  for (int r = thread; r < rows; r += 128) anchor += layout.row_anchors[head * p.shape.q_len + begin + r];
  for (int step = 16; step > 0; step /= 2) anchor += __shfl_xor_sync(~0u, anchor, step);
  if (thread % 32 == 0) anchors[thread / 32] = anchor;
  __syncthreads();

  const int heads = layout.heads_per_kv;
  const std::int64_t kv = head / heads;
  const std::int64_t unit = static_cast<std::int64_t>(blockIdx.x) / p.step * heads + head % heads;
  const int u = blockIdx.x % p.step;
  const std::int64_t tile = kv * layout.tiles + unit / layout.units_per_tile;
  int row = static_cast<int>(unit % layout.units_per_tile) * layout.slots + u;
  if (layout.slots >= 2 && layout.slots <= 16) {
    // The rows of a unit lie in as few threads as possible: first the two rows of a thread, then neighbouring
    // quads.
    const int in_warp = row % 16, k = in_warp / layout.slots;
    row = row - in_warp + k * (layout.slots / 2) + u / 2 + 8 * (u % 2);
  }
  if (thread == 0)
    layout.mean_anchor[tile * 64 + row] =
        (anchors[0] + anchors[1] + anchors[2] + anchors[3]) / static_cast<float>(rows);
  for (int column = thread; column < head_dim; column += 128) {
    float total = 0;
    for (int n = 0; n < lanes; ++n) total += sums[(n * chunks + column / 8) * 8 + column % 8];
    const float mean = total / static_cast<float>(rows);
    const T high = ElementTraits<element>::from_float(mean);
    const std::int64_t place = fragment_index(tile, row, column, head_dim);
    static_cast<T*>(layout.high)[place] = high;
    static_cast<T*>(layout.low)[place] =
        ElementTraits<element>::from_float(mean - ElementTraits<element>::to_float(high));
  }
}

}  // namespace

void run_anchor_region(const AnchorParams& params, CUstream_st* stream) {
  const AnchorGroups groups(params);
  const std::int64_t threads = params.shape.q_heads * groups.count + 1;
  region_kernel<<<static_cast<unsigned>((threads + 127) / 128), 128, 0, stream>>>(params, groups);
  check_launch("region_kernel");
}

void run_pool(const AnchorParams& params, const AnchorLayout& layout, CUstream_st* stream) {
  const std::int64_t pooled = params.shape.kv_heads * layout.tiles * 64;
  // All ones is NaN: rows without a pooled query select nothing.
  check(cudaMemsetAsync(layout.mean_anchor, 0xff, static_cast<std::size_t>(pooled) * 4, stream),
        "cudaMemsetAsync");
  const dim3 grid(static_cast<unsigned>((params.shape.q_len + params.block - 1) / params.block),
                  static_cast<unsigned>(params.shape.q_heads));
  const AnchorGroups groups(params);
  if (params.shape.element == Element::bf16)
    pool_kernel<Element::bf16><<<grid, 128, 0, stream>>>(params, groups, layout);
  else
    pool_kernel<Element::f16><<<grid, 128, 0, stream>>>(params, groups, layout);
  check_launch("pool_kernel");
}

}  // namespace anchor::kernels
