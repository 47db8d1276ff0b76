#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace anchor {

/// Element types of stored tensors. All arithmetic on the CPU is done in float or double.
enum class DType : std::uint8_t { f32, f16, bf16 };

std::size_t size_of(DType dtype);
std::string_view name_of(DType dtype);
std::optional<DType> parse_dtype(std::string_view name);

float bf16_to_float(std::uint16_t bits);
float f16_to_float(std::uint16_t bits);
/// Round to nearest, ties to even; NaN stays NaN, overflow becomes infinity.
std::uint16_t float_to_bf16(float value);
std::uint16_t float_to_f16(float value);
/// The nearest value that the type holds.
inline float round_bf16(float value) { return bf16_to_float(float_to_bf16(value)); }
inline float round_f16(float value) { return f16_to_float(float_to_f16(value)); }

/// Converts `out.size()` stored elements to float. `in` holds size_of(dtype) * out.size() bytes.
void to_float(DType dtype, const std::byte* in, std::span<float> out);
/// Converts floats to stored elements, rounding to nearest even.
void from_float(DType dtype, std::span<const float> in, std::byte* out);

}  // namespace anchor
