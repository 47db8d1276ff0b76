#pragma once

#include <memory>
#include <string>

#include "anchor/model/gguf.hpp"
#include "anchor/model/hf_folder.hpp"
#include "anchor/model/language_model.hpp"
#include "anchor/model/tokenizer.hpp"

namespace anchor {

/// A model's files: a GGUF file (or all files of a split one), or a Hugging Face folder. Models and
/// tokenizers that come from it need it as long as they live.
class ModelFiles {
 public:
  /// A folder is taken for a Hugging Face one. A data error says what is missing or damaged.
  explicit ModelFiles(const std::string& path);

  LanguageModel model() const { return folder_ ? LanguageModel(*folder_) : LanguageModel(*gguf_); }
  Tokenizer tokenizer() const { return folder_ ? Tokenizer(*folder_) : Tokenizer(*gguf_); }

  /// A GGUF file's name without its ending, a folder's without a slash at the end: what dumps and rows call
  /// the model.
  const std::string& name() const { return name_; }
  /// Hexadecimal digits that tell models apart: sample_hash() of every file of theirs, one after the other.
  std::string hash() const;

 private:
  std::unique_ptr<GgufFile> gguf_;
  std::unique_ptr<HfFolder> folder_;
  std::string name_;
};

}  // namespace anchor
