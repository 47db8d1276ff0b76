#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace anchor {

/// Storage types of GGUF tensors that we read, with ggml's numbers.
enum class GgmlType : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  bf16 = 30,
};

/// Elements per block and bytes per block: the unit in which a type stores consecutive elements.
struct BlockSize {
  std::int64_t elements;
  std::int64_t bytes;
};

/// The type with this number, if it is one that we read.
std::optional<GgmlType> parse_ggml_type(std::uint32_t number);
/// ggml's name of a type number, also of types that we do not read ("type 99" beyond ggml's own list).
std::string ggml_type_name(std::uint32_t number);
/// The names of all types that we read, for error messages.
std::string supported_ggml_types();

BlockSize block_size(GgmlType type);

/// Writes `count` floats (a multiple of the block's elements) from stored blocks. Layouts and arithmetic
/// order follow ggml's reference dequantisation (ggml-quants.c, github.com/ggml-org/ggml), so results agree
/// bit for bit.
void dequantize(GgmlType type, const std::byte* blocks, std::int64_t count, float* out);

}  // namespace anchor
