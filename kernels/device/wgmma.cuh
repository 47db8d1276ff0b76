#pragma once

#include "anchor/kernels/params.hpp"
#include "device/ptx.cuh"

// Hopper's warpgroup matrix multiply: 64 rows a warpgroup, the float accumulators in registers, A in
// registers or, as B is, in shared memory in rows of 128 bytes with the 128-byte swizzle (16-byte chunk c of
// row r lies at chunk c ^ (r % 8)).
//
// Accumulator element d[4 * j + 2 * h + e] of lane l in warp w: row 16 w + l / 4 + 8 h, column 8 j + 2 (l %
// 4) + e. Packed in pairs, 16 columns of an accumulator are the A fragment of the next product.
namespace anchor::kernels {

/// Descriptor of an operand in shared memory: `lead` and `stride` are the byte distances that PTX calls
/// leading and stride. Only the low word depends on the address.
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

// The accumulator d in assembly: its registers' names, and the operands behind them.
#define ANCHOR_WGMMA_NAMES_32                                              \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define ANCHOR_WGMMA_NAMES_64                                                          \
  ANCHOR_WGMMA_NAMES_32                                                                \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define ANCHOR_WGMMA_OPERANDS_8(n)                                                            \
  "+f"(d[n]), "+f"(d[n + 1]), "+f"(d[n + 2]), "+f"(d[n + 3]), "+f"(d[n + 4]), "+f"(d[n + 5]), \
      "+f"(d[n + 6]), "+f"(d[n + 7])
#define ANCHOR_WGMMA_OPERANDS_32(n)                                                            \
  ANCHOR_WGMMA_OPERANDS_8(n), ANCHOR_WGMMA_OPERANDS_8(n + 8), ANCHOR_WGMMA_OPERANDS_8(n + 16), \
      ANCHOR_WGMMA_OPERANDS_8(n + 24)
#define ANCHOR_WGMMA_OPERANDS_64 ANCHOR_WGMMA_OPERANDS_32(0), ANCHOR_WGMMA_OPERANDS_32(32)

#define ANCHOR_WGMMA_128(TYPE)                                                                \
  asm volatile(                                                                               \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"                                            \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE " {" ANCHOR_WGMMA_NAMES_64 \
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, %70;\n}\n"                                      \
      : ANCHOR_WGMMA_OPERANDS_64                                                              \
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

#define ANCHOR_WGMMA_64(TYPE)                                                                \
  asm volatile(                                                                              \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"                                           \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " {" ANCHOR_WGMMA_NAMES_32 \
      "}, {%32, %33, %34, %35}, %36, p, 1, 1, %38;\n}\n"                                     \
      : ANCHOR_WGMMA_OPERANDS_32(0)                                                          \
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

#define ANCHOR_WGMMA_SHARED(TYPE)                                                             \
  asm volatile(                                                                               \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"                                            \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE " {" ANCHOR_WGMMA_NAMES_64 \
      "}, %64, %65, p, 1, 1, 0, 0;\n}\n"                                                      \
      : ANCHOR_WGMMA_OPERANDS_64                                                              \
      : "l"(a), "l"(b), "r"(int(accumulate)))

/// d[64 x 128] (+)= a[64 x 16] . b[16 x 128], both by descriptor, neither transposed. Asynchronous until
/// wgmma_wait.
template <Element element>
__device__ __forceinline__ void wgmma_shared(float (&d)[64], std::uint64_t a, std::uint64_t b,
                                             bool accumulate) {
  if constexpr (element == Element::bf16)
    ANCHOR_WGMMA_SHARED("bf16");
  else
    ANCHOR_WGMMA_SHARED("f16");
}
#undef ANCHOR_WGMMA_SHARED

#undef ANCHOR_WGMMA_NAMES_32
#undef ANCHOR_WGMMA_NAMES_64
#undef ANCHOR_WGMMA_OPERANDS_8
#undef ANCHOR_WGMMA_OPERANDS_32
#undef ANCHOR_WGMMA_OPERANDS_64

}  // namespace anchor::kernels
