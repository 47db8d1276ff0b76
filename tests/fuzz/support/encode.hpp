#pragma once

#include <string>
#include <string_view>

#include "anchor/model/tokenizer.hpp"
#include "fuzz/support/outcome.hpp"

namespace anchor::test {

/// Encodes a text with a tokenizer that an input described: every id is one of the vocabulary.
inline void encode_with(const Tokenizer& tokenizer, std::string_view extra) {
  std::string text = "The 12 caf\u00e9s,  it's\n\n\tna\u00efve \u4f60\u597d \xff<s>";
  text += extra.substr(0, 256);
  const Encoding encoding = tokenizer.encode(text);
  for (const int id : encoding.ids)
    demand(id >= 0 && static_cast<std::size_t>(id) < tokenizer.vocab_size(), "ids lie in the vocabulary");
  demand(encoding.replaced > 0, "the byte ff is no text");
}

}  // namespace anchor::test
