#include "anchor/model/byte_alphabet.hpp"

namespace anchor {
namespace {

std::string utf8(int code_point) {  // below 0x800
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  return {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
}

}  // namespace

ByteAlphabet::ByteAlphabet() {
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    bytes_[utf8(visible ? byte : next++)] = static_cast<char>(byte);
  }
}

bool ByteAlphabet::decode(std::string_view text, std::string& bytes) const {
  bytes.clear();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = static_cast<unsigned char>(text[at]) < 0x80 ? 1 : 2;
    const auto found = bytes_.find(std::string(text.substr(at, length)));
    if (found == bytes_.end()) return false;
    bytes += found->second;
    at += length;
  }
  return true;
}

}  // namespace anchor
