#pragma once

#include "anchor/kernels/params.hpp"
#include "device/ptx.cuh"

// Hopper's warpgroup matrix multiply: 64 rows a warpgroup, A and the float accumulators in registers, B in
// shared memory in rows of 128 bytes with the 128-byte swizzle (16-byte chunk c of row r lies at chunk c ^ (r
// % 8)).
//
// Accumulator element d[4 * j + 2 * h + e] of lane l in warp w: row 16 w + l / 4 + 8 h, column 8 j + 2 (l %
// 4) + e. Packed in pairs, 16 columns of an accumulator are the A fragment of the next product.
namespace anchor::kernels {

/// Descriptor of a B operand: `lead` and `stride` are the byte distances that PTX calls leading and stride.
/// Only the low word depends on the address.
struct WgmmaDescriptor {
  unsigned low, high;

  __device__ __forceinline__ WgmmaDescriptor(unsigned address, unsigned lead, unsigned stride)
      : low((lead >> 4 << 16) | (address & 0x3ffff) >> 4),
        high((1u << 30) | stride >> 4) {}  // 1 << 30: 128-byte swizzle
  /// The descriptor `bytes` further on.
  __device__ __forceinline__ std::uint64_t at(unsigned bytes) const {
    return std::uint64_t{high} << 32 | (low + (bytes >> 4));
  }
};

/// Orders register writes before the wgmma that read them.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most `pending` committed groups are unfinished.
template <int pending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
/// Keeps the compiler from moving uses of an accumulator across a wait or an issue.
template <int count>
__device__ __forceinline__ void pin(float (&registers)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i) asm volatile("" : "+f"(registers[i])::"memory");
}

#define ANCHOR_WGMMA_128(TYPE)                                                                          \
  asm volatile(                                                                                         \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"                                                      \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE                                      \
      " {"                                                                                              \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                          \
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                \
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"                  \
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, %70;\n}\n"                                                \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),        \
        "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),      \
        "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),      \
        "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),      \
        "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]),      \
        "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]),      \
        "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),      \
        "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])       \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(accumulate)), "n"(transposed_b))

/// d[64 x 128] (+)= a[64 x 16] . b[16 x 128], a from registers, b by descriptor. Asynchronous until
/// wgmma_wait.
template <Element element, int transposed_b>
__device__ __forceinline__ void wgmma(float (&d)[64], const unsigned (&a)[4], std::uint64_t b,
                                      bool accumulate) {
  if constexpr (element == Element::bf16)
    ANCHOR_WGMMA_128("bf16");
  else
    ANCHOR_WGMMA_128("f16");
}
#undef ANCHOR_WGMMA_128

#define ANCHOR_WGMMA_64(TYPE)                                                                           \
  asm volatile(                                                                                         \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"                                                      \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE                                       \
      " {"                                                                                              \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                          \
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"                  \
      "}, {%32, %33, %34, %35}, %36, p, 1, 1, %38;\n}\n"                                                \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),        \
        "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),      \
        "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),      \
        "+f"(d[29]), "+f"(d[30]), "+f"(d[31])                                                           \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(accumulate)), "n"(transposed_b))

/// d[64 x 64] (+)= a[64 x 16] . b[16 x 64], a from registers, b by descriptor. Asynchronous until wgmma_wait.
template <Element element, int transposed_b>
__device__ __forceinline__ void wgmma(float (&d)[32], const unsigned (&a)[4], std::uint64_t b,
                                      bool accumulate) {
  if constexpr (element == Element::bf16)
    ANCHOR_WGMMA_64("bf16");
  else
    ANCHOR_WGMMA_64("f16");
}
#undef ANCHOR_WGMMA_64

}  // namespace anchor::kernels
