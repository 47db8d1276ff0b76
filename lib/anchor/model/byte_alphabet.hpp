#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

namespace anchor {

/// GPT-2 writes every byte as a printable character: the visible Latin-1 ones as themselves, the rest from
/// U+0100 on (bytes_to_unicode in github.com/openai/gpt-2/blob/master/src/encoder.py).
class ByteAlphabet {
 public:
  ByteAlphabet();
  /// The bytes that a vocabulary entry stands for; false when a character is none of the 256.
  bool decode(std::string_view text, std::string& bytes) const;

 private:
  std::unordered_map<std::string, char> bytes_;
};

}  // namespace anchor
