#pragma once

#include "anchor/kernels/planners.hpp"
#include "check.hpp"
#include "device/fragments.cuh"
#include "device/wgmma.cuh"
#include "planners/xattention.hpp"

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

/// d[64 x 128] += a[64 x 16] . b[16 x 128], both from shared memory by descriptor. Asynchronous.
template <Element element>
__device__ __forceinline__ void wgmma_shared(float (&d)[64], std::uint64_t a, std::uint64_t b,
                                             bool accumulate) {
#define ANCHOR_WGMMA_SS(TYPE)                                                                           \
  asm volatile(                                                                                         \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"                                                      \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE                                      \
      " {"                                                                                              \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                          \
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                \
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"                  \
      "}, %64, %65, p, 1, 1, 0, 0;\n}\n"                                                                \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),        \
        "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),      \
        "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),      \
        "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),      \
        "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]),      \
        "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]),      \
        "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),      \
        "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])       \
      : "l"(a), "l"(b), "r"(int(accumulate)))
  if constexpr (element == Element::bf16)
    ANCHOR_WGMMA_SS("bf16");
  else
    ANCHOR_WGMMA_SS("f16");
#undef ANCHOR_WGMMA_SS
}

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
    cells_kernel(const __grid_constant__ PlannerInputs in, const __grid_constant__ XAttentionCells cells) {
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
  const int local_head = blockIdx.y, head = cells.first_head + local_head;
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
void launch_cells(const PlannerInputs& in, const XAttentionCells& cells, int heads, CUstream_st* stream) {
  const auto kernel = cells_kernel<element, octets>;
  constexpr int shared_bytes = sizeof(CellsShared);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  const unsigned pairs = static_cast<unsigned>((cells.count + 2 * cell_rows - 1) / (2 * cell_rows));
  kernel<<<dim3(pairs * (pairs + 1), static_cast<unsigned>(heads)), 384, shared_bytes, stream>>>(in, cells);
  check_launch("cells_kernel");
}

template <Element element>
void xattention_cells(const PlannerInputs& in, const XAttentionCells& cells, int heads, CUstream_st* stream) {
  if (cells.per_block == 8) return launch_cells<element, 1>(in, cells, heads, stream);
  if (cells.per_block == 16) return launch_cells<element, 2>(in, cells, heads, stream);
  launch_cells<element, 4>(in, cells, heads, stream);
}

}  // namespace anchor::kernels::sm90
