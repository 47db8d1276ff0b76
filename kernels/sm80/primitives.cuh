#pragma once

#include "device/mma.cuh"
#include "device/ptx.cuh"

// The instructions that only the portable kernels use.
namespace anchor::kernels::sm80 {

/// 16 bytes from global to shared memory behind the thread's back; zeros if `absent` (nothing is read then).
__device__ __forceinline__ void copy16_unless(bool absent, unsigned target, const void* source) {
  asm volatile(
      "{\n.reg .pred absent;\nsetp.ne.u32 absent, %2, 0;\n"
      "cp.async.cg.shared.global [%0], [%1], 16, absent;\n}\n" ::"r"(target),
      "l"(source), "r"(static_cast<unsigned>(absent))
      : "memory");
}
/// 4 bytes from global to shared memory behind the thread's back; zeros if !valid.
__device__ __forceinline__ void copy4(unsigned target, const void* source, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(target), "l"(source), "r"(valid ? 4 : 0)
               : "memory");
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until all but the thread's last `pending` groups of copies have landed.
template <int pending>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

/// c = a b: as multiply, without an old value of c.
template <Element element>
__device__ __forceinline__ void multiply_fresh(float (&c)[4], const unsigned (&a)[4], unsigned b0,
                                               unsigned b1) {
  if constexpr (element == Element::bf16)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %10, %10, %10};"
        : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(0.f));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %10, %10, %10};"
        : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(0.f));
}

}  // namespace anchor::kernels::sm80
