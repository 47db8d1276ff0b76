#include <algorithm>

#include "check.hpp"
#include "common/anchor/layout.hpp"
#include "common/anchor/pool.cuh"
#include "common/anchor/prepare.hpp"
#include "device/launch.cuh"

namespace anchor::kernels {
namespace {

/// a / b of numbers below 2^31, five times as fast as in 64 bits.
__device__ __forceinline__ std::int64_t quotient(std::int64_t a, std::int64_t b) {
  return static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b);
}

/// Tile `index` of the launch. Where all keys stay in the cache, long tiles come first, so that short ones
/// fill the end; else a KV head's groups follow each other. The heads of a KV head, which read the same keys,
/// lie side by side.
__device__ Tile region_tile(const ListPlannerParams& p, const AnchorGroups& groups,
                            const AnchorLayout& layout, const Schedule& schedule, std::int64_t index) {
  const int per_kv = p.shape.q_heads / p.shape.kv_heads;
  const std::int64_t tiles = schedule.tiles_per_group, full = groups.count - 1;
  const std::int64_t last = schedule.tiles_per_head - full * tiles;  // tiles of the last group
  std::int64_t head, g, in_group;
  if (schedule.segments > 1) {
    const std::int64_t of_kv = std::int64_t{per_kv} * schedule.tiles_per_head, kv = quotient(index, of_kv);
    const std::int64_t rest = index - kv * of_kv;
    g = min(quotient(rest, per_kv * tiles), full);
    const std::int64_t in_row = rest - g * per_kv * tiles, step = quotient(in_row, per_kv);
    in_group = (g < full ? tiles : last) - 1 - step;
    head = kv * per_kv + in_row - step * per_kv;
  } else {
    // Places in a group that the last group lacks come first; then every group has the place.
    const std::int64_t heads = p.shape.q_heads, lacking = (tiles - last) * full * heads;
    const std::int64_t of_place = (index < lacking ? full : full + 1) * heads;
    std::int64_t rest = index < lacking ? index : index - lacking;
    const std::int64_t place = quotient(rest, of_place);
    rest -= place * of_place;
    in_group = (index < lacking ? tiles : last) - 1 - place;
    g = quotient(rest, heads);
    head = rest - g * heads;
  }
  const std::int64_t begin = g * groups.rows + in_group * kTileRows;
  const std::int64_t end = min(min(begin + kTileRows, (g + 1) * groups.rows), p.shape.q_len);
  const std::int64_t visible = p.shape.q_start + end;  // keys before this may be seen
  const std::int64_t hole = groups.hole_end(g);
  const bool holed = hole > groups.hole_begin();
  const std::int64_t blocks =
      min(groups.blocks(g), holed ? groups.blocks_before_hole() + groups.up(visible - hole, groups.block)
                                  : groups.up(visible, groups.block));

  Tile tile;
  tile.block_end = head * groups.blocks_before(groups.count) + groups.blocks_before(g) + blocks;
  tile.block_keys = static_cast<std::int32_t>(blocks * groups.block);
  tile.head = static_cast<std::int32_t>(head);
  tile.row = static_cast<std::int32_t>(begin);
  tile.rows = static_cast<std::int32_t>(end - begin);
  tile.columns = static_cast<std::int32_t>(groups.leading(g));  // of layout.sinks
  if (p.block == kTileRows)                                     // for Mode::region
    tile.pooled_row = PooledRow(layout, tile.head, tile.row / kTileRows, p.step).index();
  return tile;
}

/// What depends on shapes alone: block lists, and, if there is a schedule, the tiles over them. Clears what
/// later kernels add to.
__global__ void __launch_bounds__(256)
    region_kernel(ListPlannerParams p, AnchorGroups groups, AnchorLayout layout, Schedule schedule) {
  begin_kernel();
  const std::int64_t thread = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  const std::int64_t threads = gridDim.x * static_cast<std::int64_t>(blockDim.x);
  const std::int64_t rows = p.shape.q_heads * groups.count, of_head = groups.blocks_before(groups.count);
  const std::int64_t before_hole = groups.blocks_before_hole();
  for (std::int64_t row = thread / 32; row <= rows; row += threads / 32) {
    const std::int64_t head = quotient(row, groups.count), g = row - head * groups.count;
    const std::int64_t first = head * of_head + groups.blocks_before(g);
    if (thread % 32 == 0) p.block_offsets[row] = first;
    if (row == rows) break;
    const std::int64_t hole = groups.hole_end(g), count = groups.blocks(g);
    for (std::int64_t n = thread % 32; n < count; n += 32)
      p.blocks[first + n] = static_cast<std::int32_t>(hole > groups.hole_begin() && n >= before_hole
                                                          ? hole + (n - before_hole) * groups.block
                                                          : n * groups.block);
  }
  // NaN: rows without a pooled query select nothing.
  for (std::int64_t n = thread; n < p.shape.kv_heads * layout.tiles * 64 * anchor_parts; n += threads)
    layout.mean_anchor[n] = NAN;
  for (std::int64_t n = thread; n < 2 * rows; n += threads) layout.counts[n] = 0;
  if (groups.stripes && thread < most_sinks) layout.sinks[thread] = static_cast<std::int32_t>(thread);

  if (!schedule.tile) return;
  if (thread == 0) {
    schedule.ticket[0] = 0;
    schedule.ticket[1] = static_cast<unsigned>(schedule.tiles);
  }
  for (std::int64_t n = thread; n <= schedule.tiles; n += threads)
    schedule.tile[n] = n < schedule.tiles ? region_tile(p, groups, layout, schedule, n) : Tile{};
}

/// Mean query and mean row anchor of one pooled block: block x of head y.
template <Element element>
__global__ void __launch_bounds__(128) pool_kernel(ListPlannerParams p, AnchorLayout layout) {
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

  const PooledRow place(layout, static_cast<int>(head), static_cast<int>(blockIdx.x), p.step);
  if (thread < anchor_parts)
    place.store_anchor(
        layout, thread,
        thread > 0 ? 0 : (anchors[0] + anchors[1] + anchors[2] + anchors[3]) / static_cast<float>(rows));
  for (int column = 2 * thread; column < head_dim; column += 2 * 128) {
    float total[2] = {0, 0};
    for (int n = 0; n < lanes; ++n)
      for (int i = 0; i < 2; ++i) total[i] += sums[(n * chunks + column / 8) * 8 + column % 8 + i];
    place.store_pair<element>(layout, head_dim, column, total[0] / static_cast<float>(rows),
                              total[1] / static_cast<float>(rows));
  }
}

/// Mean x of KV head y, keys or values z. A thread adds 8 columns of every lanes-th row.
template <Element element>
__global__ void __launch_bounds__(128) means_kernel(Tensors p, const void* v, AnchorLayout layout) {
  begin_kernel();
  __shared__ float sums[128 * 8];
  const MeanKeys& means = layout.means;
  const int thread = threadIdx.x, head_dim = p.shape.head_dim;
  const int chunks = head_dim / 8, chunk = thread % chunks, lane = thread / chunks, lanes = 128 / chunks;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * means.block;
  float sum[8] = {};
  if (begin + means.block <= p.shape.kv_len) {
    const auto* from = static_cast<const unsigned short*>(blockIdx.z ? v : p.k) +
                       blockIdx.y * p.stride_kv_head + begin * p.stride_kv_token + chunk * 8;
#pragma unroll 8
    for (int r = lane; r < means.block; r += lanes) {
      const uint4 packed = *reinterpret_cast<const uint4*>(from + r * p.stride_kv_token);
      const float2 pairs[4] = {unpack2<element>(packed.x), unpack2<element>(packed.y),
                               unpack2<element>(packed.z), unpack2<element>(packed.w)};
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[2 * i] += pairs[i].x, sum[2 * i + 1] += pairs[i].y;
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) sums[thread * 8 + i] = sum[i];
  __syncthreads();
  auto* to = static_cast<unsigned*>(blockIdx.z ? means.v : means.k) +
             (blockIdx.y * means.count + blockIdx.x) * head_dim / 2;
  for (int pair = thread; pair < head_dim / 2; pair += 128) {
    float total[2] = {0, 0};
    for (int n = 0; n < lanes; ++n)
      for (int i = 0; i < 2; ++i) total[i] += sums[(n * chunks + pair / 4) * 8 + pair % 4 * 2 + i];
    const auto rows = static_cast<float>(means.block);
    to[pair] = pack2<element>(total[0] / rows, total[1] / rows);
  }
}

}  // namespace

void run_means(const Tensors& keys, const void* v, const AnchorLayout& layout, CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>(layout.means.count), static_cast<unsigned>(keys.shape.kv_heads), 2);
  if (layout.means.count == 0) return;
  const auto kernel =
      keys.shape.element == Element::bf16 ? means_kernel<Element::bf16> : means_kernel<Element::f16>;
  launch("means_kernel", kernel, grid, 128, 0, stream, keys, v, layout);
}

void run_anchor_region(const ListPlannerParams& params, const AnchorGroups& groups,
                       const AnchorLayout& layout, const Schedule* schedule, CUstream_st* stream) {
  Schedule none(params.shape, region_plan(params), nullptr);
  none.tile = nullptr;
  const std::int64_t warps = params.shape.q_heads * groups.count + 1;
  const auto blocks = static_cast<unsigned>(std::min<std::int64_t>((warps + 7) / 8, 2048));
  launch("region_kernel", region_kernel, blocks, 256, 0, stream, params, groups, layout,
         schedule ? *schedule : none);
}

void run_pool(const ListPlannerParams& params, const AnchorLayout& layout, CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>((params.shape.q_len + params.block - 1) / params.block),
                  static_cast<unsigned>(params.shape.q_heads));
  const auto kernel =
      params.shape.element == Element::bf16 ? pool_kernel<Element::bf16> : pool_kernel<Element::f16>;
  kernel<<<grid, 128, 0, stream>>>(params, layout);
  check_launch("pool_kernel");
}

void clear_bitmaps(const AnchorLayout& layout, int kv_heads, CUstream_st* stream) {
  if (layout.slots <= 16) return;
  const auto rows = static_cast<std::size_t>(kv_heads * layout.units);
  check(cudaMemsetAsync(layout.bitmap, 0, rows * static_cast<std::size_t>(layout.words) * 4, stream),
        "cudaMemsetAsync");
  check(
      cudaMemsetAsync(layout.segment_counts, 0, rows * static_cast<std::size_t>(layout.segments) * 8, stream),
      "cudaMemsetAsync");
}

}  // namespace anchor::kernels
