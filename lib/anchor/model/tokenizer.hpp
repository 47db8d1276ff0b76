#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "anchor/model/added_tokens.hpp"
#include "anchor/model/bpe.hpp"
#include "anchor/model/normalizer.hpp"
#include "anchor/model/pre_tokenizer.hpp"

namespace anchor {

class GgufFile;
class HfFolder;

/// A text as token ids.
struct Encoding {
  std::vector<int> ids;
  std::int64_t replaced = 0;  ///< ill-formed UTF-8 sequences that were read as U+FFFD
};

/// The stations of a text on its way to ids, in order.
struct TokenizerParts {
  std::string name;
  std::size_t vocab_size = 0;
  std::vector<int> front;        ///< ids before the text's: begin-of-text
  AddedTokens added;             ///< looked for in the text as it is
  Normalizer normalizer;         ///< of what lies between them
  AddedTokens normalized_added;  ///< looked for in normalised text
  Normalizer spacing;            ///< how a pre-tokenizer writes spaces
  std::string start;             ///< stands before a text that does not begin with it or with an added token
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  std::unordered_map<std::string, int> tokens;  ///< ordinary tokens: as bytes if byte_level, else as text
  bool byte_level = true;                       ///< merges start from bytes, else from characters
  bool whole_pieces_first = false;              ///< a piece that is a token is taken without merges
  std::vector<int> byte_tokens;  ///< [256] or empty: what a character becomes that is no token; -1 = none
  int unknown = -1;              ///< what it becomes else; -1 = nothing
  bool fuse_unknown = false;     ///< neighbouring unknown characters are one token
};

/// Byte-pair tokenizer of a model, giving the ids that the model's Hugging Face tokenizer gives for the same
/// text: special and added tokens that occur in the text become their own id, the rest is normalised, cut by
/// the pre-tokenizer and merged. The text is taken as it is: no template, no stripping, no end-of-text token.
class Tokenizer {
 public:
  /// The tokenizer of a GGUF file: byte-level BPE (tokenizer.ggml.model = "gpt2") or SentencePiece's BPE with
  /// scores
  /// ("llama"). Throws a data error that names what is missing, damaged or not supported.
  explicit Tokenizer(const GgufFile& file);
  /// The tokenizer that tokenizer.json describes, of model type BPE.
  explicit Tokenizer(const HfFolder& folder);

  /// Encodes bytes that should be UTF-8; the first id is the begin-of-text token if the file says so.
  Encoding encode(std::string_view text) const;

  /// The bytes that each id stands for, by id; empty for ids that no text can give.
  std::vector<std::string> token_texts() const;

  std::size_t vocab_size() const { return parts_.vocab_size; }
  /// "gpt2/smollm": the model and the pre-tokenizer.
  const std::string& name() const { return parts_.name; }

 private:
  void encode_piece(std::string_view piece, std::vector<int>& ids) const;

  TokenizerParts parts_;
};

TokenizerParts read_tokenizer(const GgufFile& file);
TokenizerParts read_tokenizer(const HfFolder& folder);

/// "<0x0A>": how vocabularies write the token of a byte.
std::string byte_token(int byte);

}  // namespace anchor
