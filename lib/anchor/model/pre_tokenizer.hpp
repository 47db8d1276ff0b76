#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace anchor {

/// Cuts text into the pieces that byte-pair merges never cross. The rule is chosen by a GGUF file's label
/// tokenizer.ggml.pre and equals that of the model's Hugging Face tokenizer.
class PreTokenizer {
 public:
  /// Throws a data error that lists the known labels.
  explicit PreTokenizer(std::string_view label);
  ~PreTokenizer();
  PreTokenizer(PreTokenizer&&) noexcept;

  /// The pieces in order; together they are the text. `text` must be valid UTF-8.
  std::vector<std::string_view> split(std::string_view text) const;

  /// A piece that is a whole token is taken as it is, without merges (llama-bpe).
  bool whole_pieces_first() const;
  /// The Hugging Face tokenizer of this label first normalises text to NFC, which we do not (qwen2).
  bool expects_nfc() const;

 private:
  struct Rules;
  std::unique_ptr<Rules> rules_;
};

}  // namespace anchor
