#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "anchor/model/regex.hpp"

namespace anchor {

/// Cuts text into the pieces that byte-pair merges never cross, in steps, each within the pieces of the one
/// before.
class PreTokenizer {
 public:
  /// What becomes of the matches of a step's pattern (the tokenizers library's SplitDelimiterBehavior).
  enum class Matches : std::uint8_t { isolated, removed, with_previous, with_next, contiguous };

  PreTokenizer() = default;
  /// The rules behind a GGUF file's label tokenizer.ggml.pre, equal to those of the model's Hugging Face
  /// tokenizer. Throws a data error that lists the known labels.
  explicit PreTokenizer(std::string_view label);

  /// Adds a step; `inverted` takes what lies between matches for the matches.
  void add(Regex pattern, Matches matches, bool inverted = false);
  /// Adds the pattern of GPT-2, which byte-level tokenizers have built in.
  void add_gpt2();

  /// The pieces in order, none empty; unless matches are removed, together they are the text. `text` must be
  /// valid UTF-8.
  std::vector<std::string_view> split(std::string_view text) const;

  /// Labels whose tokenizer takes a piece that is a whole token as it is, without merges (llama-bpe), and
  /// those whose tokenizer normalises text to NFC first (qwen2).
  static bool whole_pieces_first(std::string_view label);
  static bool normalises(std::string_view label);

 private:
  struct Step {
    Regex pattern;
    Matches matches;
    bool inverted;
  };
  std::vector<Step> steps_;
};

}  // namespace anchor
