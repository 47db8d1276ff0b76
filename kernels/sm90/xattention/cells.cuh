#pragma once

#include "anchor/kernels/planners.hpp"
#include "check.hpp"
#include "common/planners/xattention.hpp"
#include "device/fragments.cuh"
#include "device/wgmma.cuh"

// XAttention's product of cells on Hopper: 128 row cells x 256 column cells a block of threads, a product
// `stride * head_dim` deep that streams through shared memory 64 elements at a time. One warpgroup copies,
// two multiply 64 rows each. The epilogue is that of planners/xattention.cu.
namespace anchor::kernels::sm90 {

constexpr int cell_rows = 128, cell_columns = 256, cell_depth = 64, cell_stages = 4;

struct alignas(1024) CellsShared {
  unsigned char q[cell_stages][cell_rows * cell_depth * 2];
  unsigned char k[cell_stages][cell_columns * cell_depth * 2];
  alignas(8) std::uint64_t full[cell_stages], empty[cell_stages];
};

/// A producer thread's 16-byte column of every 16th row of an operand whose rows are cells.
struct CellCopy {
  const char* row;          ///< the thread's first cell, at the thread's column
  std::int64_t cell_bytes;  ///< from one cell to the next
  unsigned target;          ///< in the stage
  int first, stride, tokens;

  __device__ CellCopy(const void* head, std::int64_t token_bytes, int first_cell, int cell_stride,
                      int token_count)
      : cell_bytes(token_bytes * cell_stride), stride(cell_stride), tokens(token_count) {
    const int column = threadIdx.x % 8, in_tile = threadIdx.x / 8;
    first = first_cell + in_tile;
    row = static_cast<const char*>(head) + first * cell_bytes + column * 16;
    target = in_tile * 128 + ((column ^ in_tile % 8) << 4);
  }
  /// Token `a` of every cell, from byte `offset` of it on; zeros beyond the last token.
  template <int rows>
  __device__ __forceinline__ void copy(unsigned stage, int a, std::int64_t offset) const {
    const char* from = row + offset;
    const bool inside = (first + rows - 16) * stride + a < tokens;
    if (inside) {
#pragma unroll
      for (int n = 0; n < rows / 16; ++n) copy16(stage + target + n * 16 * 128, from + n * 16 * cell_bytes);
    } else {
#pragma unroll
      for (int n = 0; n < rows / 16; ++n) {
        const bool valid = (first + n * 16) * stride + a < tokens;
        copy16(stage + target + n * 16 * 128, valid ? from + n * 16 * cell_bytes : row - first * cell_bytes,
               valid);
      }
    }
  }
};

/// log2 of the sums of 2^score over blocks of 8 `octets` columns, of a lane's two rows.
template <int octets>
__device__ __forceinline__ void store_cells(const XAttentionCells& cells, const float (&z)[64], int row,
                                            int column, int local_head) {
  const float scale = cells.scale * log2e;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int x = row + lane / 4 + 8 * h;
#pragma unroll
    for (int n = 0; n < 16; n += octets) {
      float top = -INFINITY, value[octets * 2];
#pragma unroll
      for (int o = 0; o < octets * 2; ++o) {
        const int y = column + (n + o / 2) * 8 + lane % 4 * 2 + o % 2;
        value[o] = y <= x ? z[4 * (n + o / 2) + 2 * h + o % 2] * scale : -INFINITY;
        top = fmaxf(top, value[o]);
      }
      top = quad_max(top);
      float sum = 0;
#pragma unroll
      for (int o = 0; o < octets * 2; ++o) sum += top == -INFINITY ? 0 : exp2_approx(value[o] - top);
      sum = quad_sum(sum);
      const int block = (column + n * 8) / (8 * octets);
      if (lane % 4 == 0 && x < cells.count && block < cells.blocks)
        cells.lse[(static_cast<std::int64_t>(local_head) * cells.count + x) * cells.blocks + block] =
            top == -INFINITY ? -INFINITY : top + log2f(sum);
    }
  }
}

template <Element element, int octets>
__global__ void __launch_bounds__(384, 1)
    cells_kernel(const __grid_constant__ Tensors in, const __grid_constant__ XAttentionCells cells) {
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& s = *reinterpret_cast<CellsShared*>(memory);
  // Row tiles in pairs share their column tiles: 2 p + 2 tiles' columns are p + 1 tiles of 256.
  const int pair = static_cast<int>((sqrtf(4.f * static_cast<float>(blockIdx.x) + 1.f) - 1.f) / 2.f);
  int p = pair;
  while (p * (p + 1) > static_cast<int>(blockIdx.x)) --p;
  while ((p + 1) * (p + 2) <= static_cast<int>(blockIdx.x)) ++p;
  const int rest = static_cast<int>(blockIdx.x) - p * (p + 1);
  const int first_row = (2 * p + rest % 2) * cell_rows, first_column = rest / 2 * cell_columns;
  if (first_row >= cells.count) return;
  const int local_head = blockIdx.y, head = cells.head(local_head);
  const int kv_head = head / (in.shape.q_heads / in.shape.kv_heads);
  const int per_token = in.shape.head_dim / cell_depth, steps = cells.stride * per_token;
  if (threadIdx.x == 0) {
    for (int i = 0; i < cell_stages; ++i) {
      barrier_init(shared_address(&s.full[i]), 128);
      barrier_init(shared_address(&s.empty[i]), 8);  // a warp each
    }
    barrier_init_fence();
  }
  __syncthreads();
  int stage = 0;
  unsigned parity = 0;
  const auto next = [&] {
    if (++stage == cell_stages) stage = 0, parity ^= 1;
  };
  if (threadIdx.x < 128) {
    lower_registers<40>();
    const int tokens = static_cast<int>(in.shape.kv_len), last = cells.stride - 1;
    const std::int64_t q_bytes = in.stride_q_token * 2, k_bytes = in.stride_kv_token * 2;
    const CellCopy q(static_cast<const char*>(in.q) + head * in.stride_q_head * 2, q_bytes, first_row,
                     cells.stride, tokens);
    const CellCopy k(static_cast<const char*>(in.k) + kv_head * in.stride_kv_head * 2, k_bytes, first_column,
                     cells.stride, tokens);
    int a = 0, part = 0;  // token of the query cell; the key cell runs backwards
    parity = 1;
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      barrier_wait(shared_address(&s.empty[stage]), parity);
      q.copy<cell_rows>(shared_address(s.q[stage]), a, a * q_bytes + part * cell_depth * 2);
      k.copy<cell_columns>(shared_address(s.k[stage]), last - a,
                           (last - a) * k_bytes + part * cell_depth * 2);
      barrier_arrive_after_copies(shared_address(&s.full[stage]));
      if (++part == per_token) part = 0, ++a;
      next();
    }
    asm volatile("cp.async.wait_all;" ::: "memory");
  } else {
    raise_registers<232>();
    const int group = threadIdx.x / 128 - 1;
    float left[64], right[64];
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      barrier_wait(shared_address(&s.full[stage]), parity);
      fence_proxy_async();
      wgmma_fence();
      pin(left);
      pin(right);
      const WgmmaDescriptor a(shared_address(s.q[stage]) + group * 64 * 128, 16, 1024);
      const WgmmaDescriptor b(shared_address(s.k[stage]), 16, 1024);
#pragma unroll
      for (int kk = 0; kk < cell_depth / 16; ++kk) {
        wgmma_shared<element>(left, a.at(kk * 32), b.at(kk * 32), step > 0 || kk > 0);
        wgmma_shared<element>(right, a.at(kk * 32), b.at(128 * 128 + kk * 32), step > 0 || kk > 0);
      }
      wgmma_commit();
      // The products of the step before are done: its stage is free.
      wgmma_wait<1>();
      pin(left);
      pin(right);
      if (step > 0 && threadIdx.x % 32 == 0)
        barrier_arrive(shared_address(&s.empty[stage == 0 ? cell_stages - 1 : stage - 1]));
      next();
    }
    wgmma_wait<0>();
    pin(left);
    pin(right);
    const int row = first_row + group * 64 + threadIdx.x % 128 / 32 * 16;
    store_cells<octets>(cells, left, row, first_column, local_head);
    store_cells<octets>(cells, right, row, first_column + 128, local_head);
  }
}

template <Element element, int octets>
void launch_cells(const Tensors& in, const XAttentionCells& cells, int heads, CUstream_st* stream) {
  const auto kernel = cells_kernel<element, octets>;
  constexpr int shared_bytes = sizeof(CellsShared);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  const unsigned pairs = static_cast<unsigned>((cells.count + 2 * cell_rows - 1) / (2 * cell_rows));
  kernel<<<dim3(pairs * (pairs + 1), static_cast<unsigned>(heads)), 384, shared_bytes, stream>>>(in, cells);
  check_launch("cells_kernel");
}

template <Element element>
void xattention_cells(const Tensors& in, const XAttentionCells& cells, int heads, CUstream_st* stream) {
  if (cells.per_block == 8) return launch_cells<element, 1>(in, cells, heads, stream);
  if (cells.per_block == 16) return launch_cells<element, 2>(in, cells, heads, stream);
  launch_cells<element, 4>(in, cells, heads, stream);
}

}  // namespace anchor::kernels::sm90
