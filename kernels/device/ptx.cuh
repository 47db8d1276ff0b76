#pragma once

#include <cstdint>

// Thin wrappers of the PTX that has no CUDA C++ spelling: barriers in shared memory, asynchronous copies,
// fences.
namespace anchor::kernels {

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

/// 16 bytes from global to shared memory, past L1. `valid` = false writes zeros and reads nothing.
__device__ __forceinline__ void copy16(unsigned target, const void* source) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(target), "l"(source) : "memory");
}
__device__ __forceinline__ void copy16(unsigned target, const void* source, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(source), "r"(valid ? 16 : 0)
               : "memory");
}

/// Eight times copy16, from source + offset[n] to target + n * step. One block of assembly, or the compiler
/// gives all addresses the same registers and every copy waits until the one before has read them.
template <int step>
__device__ __forceinline__ void copy16_eight(unsigned target, const void* source, const uint4& first,
                                             const uint4& second) {
  asm volatile(
      "{\n"
      ".reg .u64 o<8>, a<8>;\n"
      "cvt.u64.u32 o0, %2;\ncvt.u64.u32 o1, %3;\ncvt.u64.u32 o2, %4;\ncvt.u64.u32 o3, %5;\n"
      "cvt.u64.u32 o4, %6;\ncvt.u64.u32 o5, %7;\ncvt.u64.u32 o6, %8;\ncvt.u64.u32 o7, %9;\n"
      "add.u64 a0, o0, %1;\nadd.u64 a1, o1, %1;\nadd.u64 a2, o2, %1;\nadd.u64 a3, o3, %1;\n"
      "add.u64 a4, o4, %1;\nadd.u64 a5, o5, %1;\nadd.u64 a6, o6, %1;\nadd.u64 a7, o7, %1;\n"
      "cp.async.cg.shared.global [%0], [a0], 16;\n"
      "cp.async.cg.shared.global [%0 + %10], [a1], 16;\n"
      "cp.async.cg.shared.global [%0 + %11], [a2], 16;\n"
      "cp.async.cg.shared.global [%0 + %12], [a3], 16;\n"
      "cp.async.cg.shared.global [%0 + %13], [a4], 16;\n"
      "cp.async.cg.shared.global [%0 + %14], [a5], 16;\n"
      "cp.async.cg.shared.global [%0 + %15], [a6], 16;\n"
      "cp.async.cg.shared.global [%0 + %16], [a7], 16;\n"
      "}\n" ::"r"(target),
      "l"(source), "r"(first.x), "r"(first.y), "r"(first.z), "r"(first.w), "r"(second.x), "r"(second.y),
      "r"(second.z), "r"(second.w), "n"(step), "n"(2 * step), "n"(3 * step), "n"(4 * step), "n"(5 * step),
      "n"(6 * step), "n"(7 * step)
      : "memory");
}

// --- mbarrier: counts arrivals of a phase; waiters name the parity of the phase they wait for ---

__device__ __forceinline__ void barrier_init(unsigned barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
/// Makes freshly initialised barriers visible to the asynchronous proxy.
__device__ __forceinline__ void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void barrier_arrive(unsigned barrier) {
  asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ void barrier_arrive(unsigned barrier, unsigned count) {
  asm volatile("mbarrier.arrive.shared.b64 _, [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
/// Arrives once all earlier copy16 of this thread have landed. Counts as one of the barrier's expected
/// arrivals.
__device__ __forceinline__ void barrier_arrive_after_copies(unsigned barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ bool barrier_try_wait(unsigned barrier, unsigned parity) {
  unsigned done;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "mbarrier.try_wait.parity.shared.b64 p, [%1], %2;\n"
      "selp.u32 %0, 1, 0, p;\n"
      "}\n"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done;
}
/// A wait that never ends is a bug in a pipeline; trapping turns a hung device into an error.
__device__ __forceinline__ void barrier_wait(unsigned barrier, unsigned parity) {
  for (unsigned tries = 0; !barrier_try_wait(barrier, parity); ++tries)
    if (tries > (1u << 24)) __trap();
}

/// Barrier `id` (1..15) among `threads` threads of the block.
template <int id, int threads>
__device__ __forceinline__ void named_barrier() {
  asm volatile("bar.sync %0, %1;" ::"n"(id), "n"(threads) : "memory");
}

/// Orders ordinary writes to shared memory before later reads by the tensor cores.
__device__ __forceinline__ void fence_proxy_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

template <int registers>
__device__ __forceinline__ void raise_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
__device__ __forceinline__ void lower_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}

/// Four 8x8 matrices of 16-bit elements; lane l names row l % 8 of matrix l / 8.
__device__ __forceinline__ void load_matrices(unsigned (&fragment)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(address)
               : "memory");
}

/// Their transposes.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&fragment)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(address)
               : "memory");
}

__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace anchor::kernels
