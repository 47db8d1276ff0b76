#include "anchor/kernels/mass.hpp"
#include "check.hpp"
#include "common/planners/grid.cuh"
#include "common/planners/scores.hpp"
#include "sm80/tiles.cuh"

// SALE's selection (rule: lib/anchor/method/sale.cpp): int4 codes, multiplied exactly by int8 tensor cores.
namespace anchor::kernels {
namespace {

using namespace sm80;

constexpr int kQueryTile = 64, kKeyBlock = 32, kSegment = 4;
constexpr std::int64_t kDenseLength = 1024;
constexpr double kLeastThreshold = 1e-5;
constexpr int kMeanBlock = 1024;

/// Blocks of one tile: block 0 is the sink, blocks from `open_end` on are local, [1, open_end) compete.
struct Parts {
  __host__ __device__ Parts(std::int64_t tokens, int tile, std::int64_t window) {
    const int all = static_cast<int>((tokens + kKeyBlock - 1) / kKeyBlock);
    const int seen = (tile + 1) * (kQueryTile / kKeyBlock);
    blocks = all < seen ? all : seen;
    int local = static_cast<int>((window + kKeyBlock - 1) / kKeyBlock);
    while (local % kSegment != (blocks - 1) % kSegment) ++local;
    open_end = blocks - local > 1 ? blocks - local : 1;
  }
  int blocks, open_end;
};

/// int4 codes of rows without their mean, one byte each in rows of `pitch` bytes, with a scale per row.
struct Codes {
  int pitch;
  std::int64_t rows;  ///< per head, whole blocks
  signed char* code;  ///< [heads, rows, pitch]
  float* scale;       ///< [heads, rows]; 0 past the last token
};

/// Rows [32 x, 32 x + 32) of head y. For keys: also mean query . key of each query head of the KV head.
template <Element element>
__global__ void __launch_bounds__(128)
    quantise_kernel(Tokens x, const float* means, bool is_key, bool per_token, Codes out,
                    const float* q_means, int q_heads, float* shift, unsigned* largest) {
  using T = typename ElementTraits<element>::Type;
  __shared__ float row_max[kKeyBlock], values[kKeyBlock][256 + 1];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const std::int64_t head = blockIdx.y, begin = static_cast<std::int64_t>(blockIdx.x) * kKeyBlock;
  const T* from = static_cast<const T*>(x.data) + head * x.stride_head;
  for (int r = warp; r < kKeyBlock; r += 4) {
    const std::int64_t row = begin + r;
    float top = 0;
    for (int c = lane; c < x.head_dim; c += 32) {
      const float v = row < x.tokens ? ElementTraits<element>::to_float(from[row * x.stride_token + c]) -
                                           means[head * x.head_dim + c]
                                     : 0.f;
      values[r][c] = v;
      top = fmaxf(top, fabsf(v));
    }
    for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, step));
    if (lane == 0) row_max[r] = top;
  }
  __syncthreads();
  for (int r = warp; r < kKeyBlock; r += 4) {
    float top = row_max[r];
    if (!per_token && is_key)  // the 8 tokens t with equal t mod 8 div 2
      for (int n = 0; n < kKeyBlock; ++n)
        if (n % 8 / 2 == r % 8 / 2) top = fmaxf(top, row_max[n]);
    if (!per_token && !is_key) top = fmaxf(top, row_max[r ^ 8]);  // rows r and r + 8 of 16
    const float scale = top / 7;
    const std::int64_t row = head * out.rows + begin + r;
    for (int c = lane; c < out.pitch; c += 32)
      out.code[row * out.pitch + c] =
          scale > 0 && c < x.head_dim ? static_cast<signed char>(rintf(values[r][c] / scale)) : 0;
    if (lane == 0) out.scale[row] = begin + r < x.tokens ? scale : 0.f;
    if (!is_key) continue;
    for (int h = 0; h < q_heads; ++h) {
      float dot = 0;
      for (int c = lane; c < x.head_dim; c += 32)
        dot = fmaf(values[r][c], q_means[(head * q_heads + h) * x.head_dim + c], dot);
      for (int step = 16; step > 0; step /= 2) dot += __shfl_xor_sync(~0u, dot, step);
      if (lane > 0) continue;
      shift[(head * q_heads + h) * out.rows + begin + r] = dot;
      // What the estimate adds in integers; infinite where the key's scale is 0.
      if (begin + r < x.tokens)
        atomicMax(largest + head * q_heads + h, __float_as_uint(scale > 0 ? fabsf(dot) / scale : INFINITY));
    }
  }
}

/// limit [q_heads, N]: the least estimate (unscaled) that a selected key exceeds.
template <Element element>
__global__ void __launch_bounds__(128)
    limit_kernel(Tokens q, const float* k_means, int heads_per_kv, float softmax_scale, const float* lse,
                 const double* theta, float* limit) {
  using T = typename ElementTraits<element>::Type;
  const std::int64_t row = blockIdx.x * std::int64_t{4} + threadIdx.x / 32, head = blockIdx.y;
  if (row >= q.tokens) return;
  const T* from = static_cast<const T*>(q.data) + head * q.stride_head + row * q.stride_token;
  float dot = 0;  // what the reference's keys have too much: their mean
  for (int c = threadIdx.x % 32; c < q.head_dim; c += 32)
    dot = fmaf(ElementTraits<element>::to_float(from[c]), k_means[head / heads_per_kv * q.head_dim + c], dot);
  for (int step = 16; step > 0; step /= 2) dot += __shfl_xor_sync(~0u, dot, step);
  if (threadIdx.x % 32 == 0)
    limit[head * q.tokens + row] =
        (lse[head * q.tokens + row] + static_cast<float>(log(theta[head]))) / softmax_scale - dot;
}

__device__ __forceinline__ void multiply_int8(int (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Two tiles (128 rows) of query head y against the keys that compete. Bits of block c of a tile: some row
/// and key's estimate exceeds the row's limit.
template <int head_dim, bool per_token>
__global__ void __launch_bounds__(128, 2)
    estimate_kernel(BlockGrid grid, std::int64_t window, int heads_per_kv, Codes q, Codes k,
                    const float* shift, const unsigned* largest, const float* limits, const double* theta,
                    std::uint32_t* bits) {
  constexpr int pitch = head_dim < 128 ? 128 : head_dim, k_steps = head_dim / 32, keys_per_stage = 64;
  constexpr int stage_bytes = keys_per_stage * pitch;
  constexpr float magic = 12582912.f;  // 1.5 * 2^23: integers added to its bits are integers added to it
  extern __shared__ __align__(1024) unsigned char shared[];
  auto* const found = reinterpret_cast<std::uint32_t*>(shared + 2 * stage_bytes);  // [2][words]
  __shared__ float key_scale[2][keys_per_stage], key_shift[2][keys_per_stage], key_ratio[2][keys_per_stage];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, head = blockIdx.y,
            kv_head = head / heads_per_kv;
  const int pair = gridDim.x - 1 - blockIdx.x, tile = 2 * pair + warp / 2;
  const bool dense = grid.tokens <= kDenseLength || theta[head] < kLeastThreshold;
  const Parts first_parts(grid.tokens, 2 * pair, window),
      parts(grid.tokens, min(tile, grid.tiles - 1), window);
  const Parts last_parts(grid.tokens, min(2 * pair + 1, grid.tiles - 1), window);
  const int open_end = dense ? 1 : max(first_parts.open_end, last_parts.open_end);
  for (int n = threadIdx.x; n < 2 * grid.words; n += 128) found[n] = 0;

  const int first_row = pair * 128 + warp * 32;
  const int tokens = static_cast<int>(grid.tokens);
  Operand<2, k_steps> codes;
  const std::int64_t q_head_rows = head * q.rows, k_head_rows = kv_head * k.rows;
  load_operand(codes.registers, reinterpret_cast<const unsigned short*>(q.code + q_head_rows * pitch),
               pitch / 2, first_row, static_cast<int>(q.rows));
  float scale[4], inverse[4], limit[4];
  bool plain = true;
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int row = first_row + lane / 4 + 8 * r;
    const bool real = row < tokens;
    scale[r] = real ? q.scale[q_head_rows + row] : 1;
    inverse[r] = 1 / scale[r];
    limit[r] = real ? limits[head * grid.tokens + row] : INFINITY;
    plain &= inverse[r] * __uint_as_float(largest[head]) < 4e6f;
  }
  const TileCopy<pitch / 2, 128> copy;
  const unsigned ring = shared_address(shared);
  const char* const from = reinterpret_cast<const char*>(k.code + k_head_rows * pitch) + copy.column * 16;
  const int end_key = open_end * kKeyBlock;
  const auto load = [&](int key, int slot) {
    if (key < end_key) {
#pragma unroll
      for (int row = 0; row < keys_per_stage; row += copy.step) {
        const int j = key + copy.row + row;
        copy16(ring + slot * stage_bytes + copy.offset() + row * copy.row_bytes,
               from + static_cast<std::int64_t>(min(j, end_key - 1)) * pitch, j < end_key);
      }
      if (threadIdx.x < keys_per_stage) {
        const int j = min(key + static_cast<int>(threadIdx.x), end_key - 1);
        const float of_key = k.scale[k_head_rows + j], c = shift[head * k.rows + j];
        key_scale[slot][threadIdx.x] = of_key;
        key_shift[slot][threadIdx.x] = c;
        key_ratio[slot][threadIdx.x] = of_key > 0 ? c / of_key : 0;
      }
    }
    commit_copies();
  };
  load(0, 0);
  const unsigned k_lane = ring + lane_offset<pitch / 2>();
  int slot = 0;
  for (int key = 0; key < end_key; key += keys_per_stage, slot ^= 1) {
    load(key + keys_per_stage, slot ^ 1);
    wait_copies<1>();
    __syncthreads();
    int dot[2][8][4];
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) dot[0][n][i] = dot[1][n][i] = 0;
#pragma unroll
    for (int step = 0; step < k_steps; ++step)
#pragma unroll
      for (int n = 0; n < 8; n += 2) {
        unsigned b[4];
        load_matrices(b, (k_lane ^ (step * 32)) + slot * stage_bytes + n * 8 * pitch);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          multiply_int8(dot[m][n], codes.registers[m][step], b[0], b[1]);
          multiply_int8(dot[m][n + 1], codes.registers[m][step], b[2], b[3]);
        }
      }
#pragma unroll
    for (int b = 0; b < 2; ++b) {  // blocks of 32 keys
      const int block = key / kKeyBlock + b;
      bool exceeds = false;
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        if (!plain) {
          for (int n = 4 * b; n < 4 * b + 4; ++n)
            for (int e = 0; e < 2; ++e) {
              const int at = n * 8 + lane % 4 * 2 + e;
              const float sk = key_scale[slot][at], c = key_shift[slot][at];
              const int product = r < 2 ? dot[0][n][r % 2 * 2 + e] : dot[1][n][r % 2 * 2 + e];
              const float estimate =
                  scale[r] > 0 && sk > 0
                      ? scale[r] * sk * (static_cast<float>(product) + rintf(c / (sk * scale[r])))
                      : c;
              exceeds |= estimate > limit[r];
            }
          continue;
        }
        float top = -INFINITY;
#pragma unroll
        for (int n = 4 * b; n < 4 * b + 4; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const int at = n * 8 + lane % 4 * 2 + e;
            const float whole = __int_as_float(__float_as_int(fmaf(key_ratio[slot][at], inverse[r], magic)) +
                                               dot[r / 2][n][r % 2 * 2 + e]);
            if (per_token)
              exceeds |= (whole - magic) * key_scale[slot][at] * scale[r] > limit[r];
            else
              top = fmaxf(top, whole);
          }
        if (!per_token)  // the lane's eight keys share a scale
          exceeds |= (top - magic) * key_scale[slot][b * kKeyBlock + lane % 4 * 2] * scale[r] > limit[r];
      }
      if (__any_sync(~0u, exceeds) && lane == 0)
        atomicOr(found + warp / 2 * grid.words + block / 32, 1u << block % 32);
    }
    __syncthreads();
  }
  __syncthreads();
  for (int n = threadIdx.x; n < 2 * grid.words; n += 128) {
    const int of_tile = 2 * pair + n / grid.words, w = n % grid.words;
    if (of_tile >= grid.tiles) break;
    const Parts own(grid.tokens, of_tile, window);
    std::uint32_t word = found[n];
    for (int i = 0; i < 32; ++i) {
      const int block = w * 32 + i;
      if (block >= own.blocks)
        word &= ~(1u << i);
      else if (dense || block == 0 || block >= own.open_end)
        word |= 1u << i;
    }
    bits[(static_cast<std::int64_t>(head) * grid.tiles + of_tile) * grid.words + w] = word;
  }
}

struct Layout {
  Layout(const Tensors& in, void* workspace)
      : grid(in.shape.q_heads, in.shape.kv_len, kQueryTile, kKeyBlock), carver(workspace) {
    const Shape& s = in.shape;
    const std::int64_t rows = (s.kv_len + 127) / 128 * 128,
                       mean_blocks = (s.kv_len + kMeanBlock - 1) / kMeanBlock;
    const int pitch = max(128, s.head_dim);
    const auto codes = [&](int heads) {
      Codes made{pitch, rows, nullptr, nullptr};
      made.code = carver.take<signed char>(heads * rows * pitch);
      made.scale = carver.take<float>(heads * rows);
      return made;
    };
    q = codes(s.q_heads);
    k = codes(s.kv_heads);
    parts = carver.take<float>(s.q_heads * mean_blocks * s.head_dim);
    q_means = carver.take<float>(std::int64_t{s.q_heads} * s.head_dim);
    k_means = carver.take<float>(std::int64_t{s.kv_heads} * s.head_dim);
    shift = carver.take<float>(s.q_heads * rows);
    largest = carver.take<unsigned>(s.q_heads);
    lse = carver.take<float>(s.q_heads * s.q_len);
    limit = carver.take<float>(s.q_heads * s.q_len);
  }
  BlockGrid grid;
  Carver carver;
  Codes q, k;
  float *parts, *q_means, *k_means, *shift, *lse, *limit;
  unsigned* largest;
};

/// lse of sink and local keys of query rows [begin, end), whose local part starts `local` keys before every
/// group of `group` rows.
void reference(const Tensors& in, std::int64_t begin, std::int64_t end, std::int64_t group,
               std::int64_t local, const Layout& layout, const Stream& stream) {
  // The kernel lays rows out per launch: heads apart by its own q_len, so that each head of a part runs
  // alone.
  const bool whole = begin == 0 && end == in.shape.q_len;
  for (int head = 0; head < (whole ? 1 : in.shape.q_heads); ++head) {
    const std::int64_t kv = head / (in.shape.q_heads / in.shape.kv_heads);
    RowStatsParams rows{in};
    if (!whole) rows.shape.q_heads = rows.shape.kv_heads = 1;
    rows.shape.q_len = end - begin;
    rows.shape.q_start = begin;
    rows.q = static_cast<const char*>(in.q) + (head * in.stride_q_head + begin * in.stride_q_token) * 2;
    rows.k = static_cast<const char*>(in.k) + kv * in.stride_kv_head * 2;
    rows.anchor_group = group;
    rows.anchor_init = kKeyBlock;
    rows.anchor_local = local;
    rows.anchor_lse = layout.lse + head * in.shape.q_len + begin;
    row_stats(rows, stream);
  }
}

template <int head_dim>
void run_estimates(const Tensors& in, const SaleParams& p, const Layout& layout, std::uint32_t* bits,
                   CUstream_st* stream) {
  const auto kernel = p.per_token ? estimate_kernel<head_dim, true> : estimate_kernel<head_dim, false>;
  const int shared_bytes = 2 * 64 * max(128, head_dim) + 2 * layout.grid.words * 4;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  kernel<<<dim3(blocks_for(layout.grid.tiles, 2), static_cast<unsigned>(in.shape.q_heads)), 128, shared_bytes,
           stream>>>(layout.grid, p.window, in.shape.q_heads / in.shape.kv_heads, layout.q, layout.k,
                     layout.shift, layout.largest, layout.limit, p.knob, bits);
  check_launch("estimate_kernel");
}

template <Element element>
void prepare(const Tensors& in, const SaleParams& p, const Layout& layout, CUstream_st* on) {
  const Tokens q = queries(in), k = keys(in);
  const int ratio = in.shape.q_heads / in.shape.kv_heads;
  check(cudaMemsetAsync(layout.largest, 0, static_cast<std::size_t>(in.shape.q_heads) * 4, on),
        "cudaMemsetAsync");
  const auto blocks = static_cast<unsigned>(layout.q.rows / kKeyBlock);
  quantise_kernel<element><<<dim3(blocks, static_cast<unsigned>(q.heads)), 128, 0, on>>>(
      q, layout.q_means, false, p.per_token, layout.q, nullptr, 0, nullptr, nullptr);
  quantise_kernel<element><<<dim3(blocks, static_cast<unsigned>(k.heads)), 128, 0, on>>>(
      k, layout.k_means, true, p.per_token, layout.k, layout.q_means, ratio, layout.shift, layout.largest);
  check_launch("quantise_kernel");
  limit_kernel<element><<<dim3(blocks_for(q.tokens, 4), static_cast<unsigned>(q.heads)), 128, 0, on>>>(
      q, layout.k_means, ratio, in.shape.softmax_scale, layout.lse, p.knob, layout.limit);
  check_launch("limit_kernel");
}

/// Where the local part of the group of two tiles starts, in keys before the group: the same for both.
std::int64_t local_of_pairs(std::int64_t window) {
  const std::int64_t far = std::int64_t{1} << 20;  // any pair without a beginning or an end in reach
  return (far + 1) * 128 -
         Parts(std::int64_t{1} << 30, static_cast<int>(2 * far + 2), window).open_end * kKeyBlock;
}

}  // namespace

const char* unsupported(const Tensors& in, const SaleParams& params) {
  const std::int64_t blocks = (params.window + kKeyBlock - 1) / kKeyBlock;
  if (blocks < 4 || blocks % 4 > 1)  // else the two tiles of a pair see different local keys
    return "windows of 4 blocks of 32 keys or more, a multiple of 4 or one more";
  if (in.shape.head_dim > 256) return "head dimensions up to 256";
  return nullptr;
}

std::size_t workspace_bytes(const Tensors& inputs, const SaleParams&) {
  return Layout(inputs, nullptr).carver.used();
}

void sale_select(const Tensors& in, const SaleParams& p, std::uint32_t* bits, void* workspace,
                 const Stream& stream) {
  const Layout layout(in, workspace);
  const BlockGrid& grid = layout.grid;
  const Tokens q = queries(in), k = keys(in);
  for (const auto& [tokens, means] : {std::pair(q, layout.q_means), std::pair(k, layout.k_means)}) {
    block_means(tokens, kMeanBlock, false, layout.parts, stream.handle());
    sequence_means(tokens, kMeanBlock, layout.parts, means, stream.handle());
  }
  if (grid.tokens > kDenseLength) {
    reference(in, 0, in.shape.q_len, 128, local_of_pairs(p.window), layout, stream);
    const int last = grid.tiles - 1;
    const std::int64_t begin = std::int64_t{last} * kQueryTile;
    const Parts parts(grid.tokens, last, p.window);
    if (parts.blocks % 2)  // the last tile sees one block only of its own
      reference(in, begin, in.shape.q_len, kQueryTile, begin - std::int64_t{parts.open_end} * kKeyBlock,
                layout, stream);
  }
  if (in.shape.element == Element::bf16)
    prepare<Element::bf16>(in, p, layout, stream.handle());
  else
    prepare<Element::f16>(in, p, layout, stream.handle());
  if (in.shape.head_dim == 64)
    run_estimates<64>(in, p, layout, bits, stream.handle());
  else if (in.shape.head_dim == 128)
    run_estimates<128>(in, p, layout, bits, stream.handle());
  else
    run_estimates<256>(in, p, layout, bits, stream.handle());
}

}  // namespace anchor::kernels
