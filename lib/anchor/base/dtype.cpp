#include "anchor/base/dtype.hpp"

#include <Eigen/Core>
#include <bit>
#include <cstring>

namespace anchor {

std::size_t size_of(DType dtype) { return dtype == DType::f32 ? 4 : 2; }

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f16:
      return "f16";
    case DType::bf16:
      return "bf16";
  }
  return "?";
}

std::optional<DType> parse_dtype(std::string_view name) {
  if (name == "f32" || name == "float32") return DType::f32;
  if (name == "f16" || name == "float16") return DType::f16;
  if (name == "bf16" || name == "bfloat16") return DType::bf16;
  return std::nullopt;
}

float bf16_to_float(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

float f16_to_float(std::uint16_t bits) {
  return static_cast<float>(Eigen::numext::bit_cast<Eigen::half>(bits));
}

std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return static_cast<std::uint16_t>((bits >> 16) | 0x40u);  // quiet NaN
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

std::uint16_t float_to_f16(float value) {
  return Eigen::numext::bit_cast<std::uint16_t>(static_cast<Eigen::half>(value));
}

void to_float(DType dtype, const std::byte* in, std::span<float> out) {
  if (dtype == DType::f32) {
    std::memcpy(out.data(), in, out.size_bytes());
    return;
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, in + 2 * i, 2);
    out[i] = dtype == DType::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
  }
}

void from_float(DType dtype, std::span<const float> in, std::byte* out) {
  if (dtype == DType::f32) {
    std::memcpy(out, in.data(), in.size_bytes());
    return;
  }
  for (std::size_t i = 0; i < in.size(); ++i) {
    const std::uint16_t bits = dtype == DType::bf16 ? float_to_bf16(in[i]) : float_to_f16(in[i]);
    std::memcpy(out + 2 * i, &bits, 2);
  }
}

}  // namespace anchor
