#include "anchor/model/utf8.hpp"

namespace anchor {
namespace {

struct Sequence {
  std::size_t length;  ///< bytes of the sequence, or of the ill-formed subpart
  bool valid;
};

// Table 3-7 of the Unicode standard: the lead byte fixes the length and the range of the second byte.
Sequence sequence_at(std::string_view s, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char lead = byte(at);
  if (lead < 0x80) return {1, true};
  if (lead < 0xC2 || lead > 0xF4) return {1, false};
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (std::size_t i = 1; i < length; ++i) {
    const bool fits =
        at + i < s.size() && byte(at + i) >= (i == 1 ? low : 0x80) && byte(at + i) <= (i == 1 ? high : 0xBF);
    if (!fits) return {i, false};
  }
  return {length, true};
}

}  // namespace

CleanText replace_invalid_utf8(std::string_view bytes) {
  CleanText clean;
  clean.text.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    const Sequence sequence = sequence_at(bytes, at);
    if (sequence.valid) {
      clean.text.append(bytes, at, sequence.length);
    } else {
      clean.text += "\xEF\xBF\xBD";
      ++clean.replaced;
    }
    at += sequence.length;
  }
  return clean;
}

}  // namespace anchor
