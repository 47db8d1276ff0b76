#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "anchor/model/bpe.hpp"
#include "anchor/model/gguf.hpp"
#include "anchor/model/pre_tokenizer.hpp"

namespace anchor {

/// A text as token ids.
struct Encoding {
  std::vector<int> ids;
  std::int64_t replaced = 0;  ///< ill-formed UTF-8 sequences that were read as U+FFFD
};

/// Byte-level BPE tokenizer of a GGUF file (tokenizer.ggml.model = "gpt2"), giving the ids that the model's
/// Hugging Face tokenizer gives for the same text: special and added tokens that occur in the text become
/// their own id, the rest is cut by the pre-tokenizer and merged. The text is taken as it is: no template, no
/// stripping, no end-of-text token.
class Tokenizer {
 public:
  /// Throws a data error that names what is missing, damaged or not supported.
  explicit Tokenizer(const GgufFile& file);

  /// Encodes bytes that should be UTF-8; the first id is the begin-of-text token if the file's add_bos_token
  /// says so.
  Encoding encode(std::string_view text) const;

  /// The bytes that each id stands for, by id; empty for ids that no text can give.
  std::vector<std::string> token_texts() const;

  std::size_t vocab_size() const { return vocab_size_; }
  /// "gpt2/smollm": the model and the pre-tokenizer.
  const std::string& name() const { return name_; }
  bool expects_nfc() const { return pre_tokenizer_.expects_nfc(); }

 private:
  struct Added {
    std::string_view text;
    int id;
  };
  const Added* added_at(std::string_view text, std::size_t at) const;
  void encode_piece(std::string_view piece, std::vector<int>& ids) const;

  std::string name_;
  PreTokenizer pre_tokenizer_;
  Bpe bpe_;
  std::size_t vocab_size_ = 0;
  std::unordered_map<std::string, int> tokens_;  ///< ordinary tokens, as bytes
  std::array<std::vector<Added>, 256> added_;    ///< special and added tokens by first byte, longest first
  int bos_ = -1;                                 ///< -1 = none is put in front
};

}  // namespace anchor
