#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "anchor/kernels/params.hpp"

// The 16-bit element types as the tensor cores take them.
namespace anchor::kernels {

template <Element element>
struct ElementTraits;

template <>
struct ElementTraits<Element::bf16> {
  using Type = __nv_bfloat16;
  static __device__ __forceinline__ float to_float(Type x) { return __bfloat162float(x); }
  static __device__ __forceinline__ Type from_float(float x) { return __float2bfloat16_rn(x); }
};

template <>
struct ElementTraits<Element::f16> {
  using Type = __half;
  static __device__ __forceinline__ float to_float(Type x) { return __half2float(x); }
  static __device__ __forceinline__ Type from_float(float x) { return __float2half_rn(x); }
};

/// Two floats rounded to nearest even and packed, `low` in the low half.
template <Element element>
__device__ __forceinline__ unsigned pack2(float low, float high) {
  unsigned packed;
  if constexpr (element == Element::bf16)
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

/// The two numbers of a packed pair, the low half first.
template <Element element>
__device__ __forceinline__ float2 unpack2(unsigned packed) {
  if constexpr (element == Element::bf16)
    return make_float2(__uint_as_float(packed << 16), __uint_as_float(packed & 0xffff0000u));
  else
    return __half22float2(*reinterpret_cast<const __half2*>(&packed));
}

}  // namespace anchor::kernels
