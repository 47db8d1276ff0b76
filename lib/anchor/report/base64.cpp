#include "anchor/report/base64.hpp"

#include <cstdint>

namespace anchor {

std::string base64(std::span<const unsigned char> bytes) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t left = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t word = 0;
    for (std::size_t n = 0; n < 3; ++n) word = word << 8 | (n < left ? bytes[at + n] : 0u);
    for (std::size_t n = 0; n < 4; ++n) text += n <= left ? digits[word >> (18 - 6 * n) & 63] : '=';
  }
  return text;
}

}  // namespace anchor
