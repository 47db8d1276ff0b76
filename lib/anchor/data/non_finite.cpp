#include "anchor/data/non_finite.hpp"

#include <cstdint>
#include <cstring>

namespace anchor {
namespace {

/// True if an element has all bits of `exponent` set.
template <class Word>
bool any_has(std::span<const std::byte> bytes, Word exponent) {
  unsigned found = 0;
  for (std::size_t n = 0; n < bytes.size(); n += sizeof(Word)) {  // no early exit: this vectorises
    Word word;
    std::memcpy(&word, bytes.data() + n, sizeof word);
    found |= (word & exponent) == exponent;
  }
  return found != 0;
}

}  // namespace

bool has_non_finite(DType dtype, std::span<const std::byte> bytes) {
  switch (dtype) {
    case DType::bf16:
      return any_has<std::uint16_t>(bytes, 0x7f80);
    case DType::f16:
      return any_has<std::uint16_t>(bytes, 0x7c00);
    case DType::f32:
      break;
  }
  return any_has<std::uint32_t>(bytes, 0x7f800000);
}

}  // namespace anchor
