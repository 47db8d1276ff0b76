#pragma once

#include <bit>
#include <cstdint>

namespace anchor {

/// Monotone map of the float number line to unsigned integers: a < b exactly when ordered_bits(a) <
/// ordered_bits(b).
inline std::uint32_t ordered_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value + 0.f);  // -0 becomes +0
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

inline float from_ordered_bits(std::uint32_t key) {
  return std::bit_cast<float>(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

/// The float number line in bins, 4096 to an octave: the bin of a value, and how many there are.
inline constexpr int bin_dropped_bits = 11;  // of 23 mantissa bits
inline constexpr std::uint32_t float_bins = 1u << (32 - bin_dropped_bits);
inline std::uint32_t float_bin(float value) { return ordered_bits(value) >> bin_dropped_bits; }

}  // namespace anchor
