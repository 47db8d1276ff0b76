#include "check.hpp"
#include "common/correction/mean_correction.hpp"
#include "common/planners/grid.cuh"
#include "common/planners/scores.hpp"
#include "sm80/tiles.cuh"

namespace anchor::kernels {
namespace {

using namespace sm80;

constexpr int kRows = 128, kWarps = 8, kThreads = kWarps * 32, kMinTile = 16;

/// Plan rows that a CTA's rows can belong to.
int plan_rows(int q_tile) {
  return q_tile % kRows == 0 ? 1 : kRows % q_tile == 0 ? kRows / q_tile : kRows / q_tile + 2;
}

/// Mean keys as the sum of two 16-bit numbers, so that their scores are exact to about 2^-16; mean values
/// rounded as values are. [kv_heads, blocks, head_dim]
struct Means {
  int blocks;
  float *k, *v;
  void *k_high, *k_low, *v_high;
};

template <Element element>
__global__ void __launch_bounds__(256) round_means_kernel(Means means, std::int64_t count) {
  using T = typename ElementTraits<element>::Type;
  const std::int64_t n = blockIdx.x * std::int64_t{256} + threadIdx.x;
  if (n >= count) return;
  const T high = ElementTraits<element>::from_float(means.k[n]);
  static_cast<T*>(means.k_high)[n] = high;
  static_cast<T*>(means.k_low)[n] =
      ElementTraits<element>::from_float(means.k[n] - ElementTraits<element>::to_float(high));
  static_cast<T*>(means.v_high)[n] = ElementTraits<element>::from_float(means.v[n]);
}

/// Rows [128 (gridDim.x - 1 - x), ...) of head y, 16 a warp. Starts from the finished output: lse is the
/// reference, its weight 1. A block weighs as many keys as the plan row does not list.
template <Element element, int head_dim>
__global__ void __launch_bounds__(kThreads) correction_kernel(SparseFwdParams p, Means means) {
  using Scalar = typename ElementTraits<element>::Type;
  constexpr int k_steps = head_dim / 16, d_tiles = head_dim / 8, tile_blocks = head_dim <= 128 ? 64 : 32;
  constexpr int n_tiles = tile_blocks / 8, row_bytes = head_dim * 2, part_bytes = tile_blocks * row_bytes;
  extern __shared__ __align__(1024) unsigned char shared[];
  // How many keys of every block each plan row lists, two counts a word.
  auto* const listed = reinterpret_cast<std::uint32_t*>(shared + 3 * part_bytes);
  const int words = (means.blocks + 1) / 2;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, head = blockIdx.y;
  const int q_len = static_cast<int>(p.shape.q_len), q_start = static_cast<int>(p.shape.q_start);
  const int first_row = (gridDim.x - 1 - blockIdx.x) * kRows, row_end = min(first_row + kRows, q_len);
  const int q_tile = p.plan.q_tile, first_tile = first_row / q_tile,
            tiles = (row_end - 1) / q_tile - first_tile + 1;
  const int most = static_cast<int>(p.shape.kv_len) / p.plan.kv_tile;
  const auto past_of = [&](int tile) { return min(most, (q_start + tile * q_tile) / p.plan.kv_tile); };
  const int past = past_of(first_tile + tiles - 1);
  if (past == 0) return;

  for (int n = threadIdx.x; n < tiles * words; n += kThreads) listed[n] = 0;
  __syncthreads();
  for (int t = 0; t < tiles; ++t) {
    const std::int64_t plan_row = head * p.plan.groups + first_tile + t;
    const auto count = [&](const std::int64_t* offsets, const std::int32_t* keys, int each) {
      if (!offsets) return;
      const std::int64_t end = offsets[plan_row + 1];
      for (std::int64_t n = offsets[plan_row] + threadIdx.x; n < end; n += kThreads) {
        const int block = keys[n] / p.plan.kv_tile;
        atomicAdd(listed + t * words + block / 2, static_cast<unsigned>(each) << block % 2 * 16);
      }
    };
    count(p.plan.block_offsets, p.plan.blocks, p.plan.kv_tile);
    count(p.plan.column_offsets, p.plan.columns, 1);
  }

  const int warp_row = first_row + warp * 16;
  Operand<1, k_steps> q;
  load_operand(q.registers, static_cast<const Scalar*>(p.q) + head * p.stride_q_head, p.stride_q_token,
               min(warp_row, row_end - 1), row_end);
  float reference[2], sum[2], out[d_tiles][4];
  int tile_of[2], from_row[2], past_row[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = min(warp_row + lane / 4 + 8 * r, row_end - 1);
    const float lse = p.lse[head * p.shape.q_len + row];
    const bool any = lse > -INFINITY;
    reference[r] = any ? lse * log2e : -1e38f;
    sum[r] = any && lane % 4 == 0 ? 1 : 0;  // one lane of the quad holds the weight of what is there
    tile_of[r] = row / q_tile - first_tile;
    past_row[r] = past_of(row / q_tile);
    const int tile_last = q_start + min(q_len, (row / q_tile + 1) * q_tile) - 1,
              sliding = static_cast<int>(p.shape.sliding_window);
    from_row[r] = sliding > 0 ? (max(0, tile_last + 1 - sliding) + p.plan.kv_tile - 1) / p.plan.kv_tile : 0;
    const std::int64_t from = head * p.stride_out_head + row * p.stride_out_token + lane % 4 * 2;
#pragma unroll
    for (int d = 0; d < d_tiles; ++d) {
      if (p.out_f32) {
        const float2 pair = *reinterpret_cast<const float2*>(static_cast<const float*>(p.out) + from + d * 8);
        out[d][r * 2] = pair.x, out[d][r * 2 + 1] = pair.y;
      } else {
        const Scalar* pair = static_cast<const Scalar*>(p.out) + from + d * 8;
        out[d][r * 2] = ElementTraits<element>::to_float(pair[0]);
        out[d][r * 2 + 1] = ElementTraits<element>::to_float(pair[1]);
      }
    }
  }

  const TileCopy<head_dim, kThreads> copy;
  const unsigned ring = shared_address(shared);
  const std::int64_t base =
      static_cast<std::int64_t>(head / (p.shape.q_heads / p.shape.kv_heads)) * means.blocks * row_bytes +
      copy.column * 16;
  const unsigned k_lane = ring + lane_offset<head_dim>();
  // Rows lane % 16 and column halves lane / 16 of V, transposed on the way.
  const unsigned v_lane = ring + 2 * part_bytes + lane % 16 * row_bytes + (((lane >> 4) ^ (lane & 7)) << 4);
  const float scale = p.shape.softmax_scale * log2e;
  for (int block = 0; block < past; block += tile_blocks) {
    __syncthreads();
#pragma unroll
    for (int row = 0; row < tile_blocks; row += copy.step) {
      const int c = block + copy.row + row;
      const std::int64_t from = base + static_cast<std::int64_t>(min(c, past - 1)) * row_bytes;
      const unsigned to = ring + copy.offset() + row * row_bytes;
      copy16(to, static_cast<const char*>(means.k_high) + from, c < past);
      copy16(to + part_bytes, static_cast<const char*>(means.k_low) + from, c < past);
      copy16(to + 2 * part_bytes, static_cast<const char*>(means.v_high) + from, c < past);
    }
    commit_copies();
    wait_copies<0>();
    __syncthreads();
    float score[1][n_tiles][4];
    multiply_tile<element>(score, q, k_lane, 0);
    multiply_tile<element, true>(score, q, k_lane, part_bytes);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float top = reference[r];
#pragma unroll
      for (int n = 0; n < n_tiles; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int c = block + n * 8 + lane % 4 * 2 + e;
          float& s = score[0][n][r * 2 + e];
          const int unlisted =
              c >= from_row[r] && c < past_row[r]
                  ? p.plan.kv_tile -
                        static_cast<int>(listed[tile_of[r] * words + c / 2] >> c % 2 * 16 & 0xffff)
                  : 0;
          s = unlisted > 0 ? fmaf(s, scale, __log2f(static_cast<float>(unlisted))) : -INFINITY;
          top = fmaxf(top, s);
        }
      top = quad_max(top);
      const float factor = exp2_approx(reference[r] - top);
      reference[r] = top;
      sum[r] *= factor;
#pragma unroll
      for (int d = 0; d < d_tiles; ++d) out[d][r * 2] *= factor, out[d][r * 2 + 1] *= factor;
    }
#pragma unroll
    for (int n = 0; n < n_tiles; n += 2) {
      unsigned weight[4];
#pragma unroll
      for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float low = exp2_approx(score[0][n + half][r * 2] - reference[r]);
          const float high = exp2_approx(score[0][n + half][r * 2 + 1] - reference[r]);
          sum[r] += low + high;
          weight[half * 2 + r] = pack2<element>(low, high);
        }
#pragma unroll
      for (int d = 0; d < d_tiles; d += 2) {
        unsigned b[4];
        load_matrices_transposed(b, (v_lane + n * 8 * row_bytes) ^ (d * 16));
        multiply<element>(out[d], weight, b[0], b[1]);
        multiply<element>(out[d + 1], weight, b[2], b[3]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = warp_row + lane / 4 + 8 * r;
    const float total = quad_sum(sum[r]), inverse = total > 0 ? 1 / total : 0;
    if (row >= row_end) continue;
    const std::int64_t to = head * p.stride_out_head + row * p.stride_out_token + lane % 4 * 2;
#pragma unroll
    for (int d = 0; d < d_tiles; ++d) {
      const float low = out[d][r * 2] * inverse, high = out[d][r * 2 + 1] * inverse;
      if (p.out_f32)
        *reinterpret_cast<float2*>(static_cast<float*>(p.out) + to + d * 8) = {low, high};
      else
        *reinterpret_cast<unsigned*>(static_cast<Scalar*>(p.out) + to + d * 8) = pack2<element>(low, high);
    }
  }
}

template <Element element, int head_dim>
void launch(const SparseFwdParams& p, const Means& means, CUstream_st* stream) {
  constexpr int tile_blocks = head_dim <= 128 ? 64 : 32;
  const int shared_bytes =
      3 * tile_blocks * head_dim * 2 + plan_rows(p.plan.q_tile) * ((means.blocks + 1) / 2) * 4;
  const auto kernel = correction_kernel<element, head_dim>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  kernel<<<dim3(blocks_for(p.shape.q_len, kRows), static_cast<unsigned>(p.shape.q_heads)), kThreads,
           shared_bytes, stream>>>(p, means);
  check_launch("correction_kernel");
}

template <Element element>
void run(const SparseFwdParams& p, const Means& means, std::int64_t count, CUstream_st* stream) {
  round_means_kernel<element><<<blocks_for(count, 256), 256, 0, stream>>>(means, count);
  check_launch("round_means_kernel");
  if (p.shape.head_dim == 64) return launch<element, 64>(p, means, stream);
  if (p.shape.head_dim == 128) return launch<element, 128>(p, means, stream);
  launch<element, 256>(p, means, stream);
}

Means lay_out(const SparseFwdParams& p, Carver& carver, std::int64_t& count) {
  Means means{};
  means.blocks = static_cast<int>((p.shape.kv_len + p.plan.kv_tile - 1) / p.plan.kv_tile);
  count = static_cast<std::int64_t>(p.shape.kv_heads) * means.blocks * p.shape.head_dim;
  means.k = carver.take<float>(count);
  means.v = carver.take<float>(count);
  means.k_high = carver.take<unsigned short>(count);
  means.k_low = carver.take<unsigned short>(count);
  means.v_high = carver.take<unsigned short>(count);
  return means;
}

}  // namespace

const char* mean_correction_unsupported(const SparseFwdParams& p) {
  if (p.plan.q_tile < kMinTile || p.plan.tiles_per_row != 1)
    return "mean correction needs plan rows of one tile of 16 query rows or more";
  if (p.plan.dup_offsets || p.plan.local) return "mean correction knows neither duplicates nor windows";
  return nullptr;
}

std::size_t mean_correction_workspace(const SparseFwdParams& p) {
  Carver carver(nullptr);
  std::int64_t count = 0;
  lay_out(p, carver, count);
  return carver.used();
}

void run_mean_correction(const SparseFwdParams& p, void* workspace, CUstream_st* stream) {
  Carver carver(workspace);
  std::int64_t count = 0;
  const Means means = lay_out(p, carver, count);
  const auto rows = [&](const void* data) {
    return Tokens{
        p.shape.element,  data, p.shape.kv_heads, p.shape.kv_len, p.shape.head_dim, p.stride_kv_head,
        p.stride_kv_token};
  };
  block_means(rows(p.k), p.plan.kv_tile, false, means.k, stream);
  block_means(rows(p.v), p.plan.kv_tile, false, means.v, stream);
  if (p.shape.element == Element::bf16)
    run<Element::bf16>(p, means, count, stream);
  else
    run<Element::f16>(p, means, count, stream);
}

}  // namespace anchor::kernels
