#include <algorithm>
#include <numeric>

#include "anchor/base/error.hpp"
#include "anchor/model/byte_alphabet.hpp"
#include "anchor/model/gguf.hpp"
#include "anchor/model/tokenizer.hpp"

namespace anchor {
namespace {

// github.com/ggml-org/llama.cpp's token types. Control and user-defined ones are matched in the text.
constexpr std::int64_t normal_token = 1, unknown_token = 2, control_token = 3, user_defined_token = 4,
                       byte_type = 6;
constexpr std::size_t longest_piece = 1024;  // SentencePiece's own default is 16 characters
constexpr const char* space = "\u2581";      // SentencePiece's sign for a space

struct Vocabulary {
  const GgufFile::Strings& texts;
  GgufFile::Integers types;
};

Vocabulary read_vocabulary(const GgufFile& file) {
  const auto& texts = file.get<GgufFile::Strings>("tokenizer.ggml.tokens");
  GgufFile::Integers types(texts.size(), normal_token);
  if (file.has("tokenizer.ggml.token_type"))
    types = file.get<GgufFile::Integers>("tokenizer.ggml.token_type");
  if (types.size() != texts.size())
    fail("{}: {} token types for {} tokens", file.path(), types.size(), texts.size());
  if (texts.size() > (std::size_t{1} << 30)) fail("{}: {} tokens are too many", file.path(), texts.size());
  return {texts, std::move(types)};
}

void add_byte_level(const GgufFile& file, const Vocabulary& vocabulary, TokenizerParts& parts) {
  const ByteAlphabet alphabet;
  std::string bytes;
  for (std::size_t i = 0; i < vocabulary.texts.size(); ++i) {
    const int id = static_cast<int>(i);
    const std::string_view text = vocabulary.texts[i];
    if (vocabulary.types[i] == control_token || vocabulary.types[i] == user_defined_token) {
      parts.added.add({std::string(text), id});
    } else if (alphabet.decode(text, bytes)) {  // others, such as padding entries, cannot occur in text
      const auto [entry, fresh] = parts.tokens.emplace(bytes, id);
      if (!fresh) fail("{}: tokens {} and {} are the same ('{}')", file.path(), entry->second, id, text);
      if (bytes.size() == 1) parts.bpe.set_byte(static_cast<unsigned char>(bytes[0]), id);
    }
  }
  std::string left, right;
  for (const std::string_view merge : file.get<GgufFile::Strings>("tokenizer.ggml.merges")) {
    const std::size_t gap = merge.find(' ');
    const bool readable = gap != std::string_view::npos && alphabet.decode(merge.substr(0, gap), left) &&
                          alphabet.decode(merge.substr(gap + 1), right);
    const auto end = parts.tokens.end();
    const auto first = parts.tokens.find(left), second = parts.tokens.find(right),
               merged = parts.tokens.find(left + right);
    if (!readable || first == end || second == end || merged == end)
      fail("{}: merge '{}' does not join two tokens into a third", file.path(), merge);
    if (!parts.bpe.add_merge(first->second, second->second, merged->second))
      fail("{}: merge '{}' occurs twice", file.path(), merge);
  }
}

// SentencePiece's BPE keeps no merges: of all neighbours that together are a token, those merge first whose
// token has the largest score (sentencepiece's bpe_model.cc). So every way to cut a token into two is a
// merge.
void add_scored(const GgufFile& file, const Vocabulary& vocabulary, TokenizerParts& parts) {
  const auto& scores = file.get<GgufFile::Floats>("tokenizer.ggml.scores");
  if (scores.size() != vocabulary.texts.size())
    fail("{}: {} token scores for {} tokens", file.path(), scores.size(), vocabulary.texts.size());
  parts.byte_level = false;
  parts.byte_tokens.assign(256, -1);
  parts.fuse_unknown = true;
  std::unordered_map<std::string_view, int> bytes;
  std::vector<std::string> names;
  for (int byte = 0; byte < 256; ++byte) names.push_back(byte_token(byte));
  for (int byte = 0; byte < 256; ++byte) bytes.emplace(names[static_cast<std::size_t>(byte)], byte);

  std::unordered_map<std::string_view, int> tokens;
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < vocabulary.texts.size(); ++i) {
    const int id = static_cast<int>(i);
    const std::string_view text = vocabulary.texts[i];
    const std::int64_t type = vocabulary.types[i];
    if (type == control_token || type == user_defined_token) {
      parts.added.add({std::string(text), id});
    } else if (type == byte_type) {
      const auto byte = bytes.find(text);
      if (byte == bytes.end()) fail("{}: byte token {} is called '{}'", file.path(), id, text);
      parts.byte_tokens[static_cast<std::size_t>(byte->second)] = id;
    } else if (type == normal_token && !text.empty()) {
      if (!tokens.emplace(text, id).second) fail("{}: token '{}' occurs twice", file.path(), text);
      // Every cut of a token is looked up: a long one would take the square of its length.
      if (text.size() > longest_piece)
        fail("{}: token {} has {} bytes; the longest piece may have {}", file.path(), id, text.size(),
             longest_piece);
      if (scores[i] != scores[i]) fail("{}: the score of token '{}' is NaN", file.path(), text);
      order.push_back(i);
    } else if (type == unknown_token) {
      parts.unknown = id;
    }
  }
  for (const auto& [text, id] : tokens) parts.tokens.emplace(text, id);
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  int rank = 0;
  for (std::size_t n = 0; n < order.size(); ++n) {
    const std::string_view text = vocabulary.texts[order[n]];
    if (n > 0 && scores[order[n]] != scores[order[n - 1]]) ++rank;
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      if ((static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) continue;
      const auto left = tokens.find(text.substr(0, cut)), right = tokens.find(text.substr(cut));
      if (left != tokens.end() && right != tokens.end())
        parts.bpe.add_merge(left->second, right->second, static_cast<int>(order[n]), rank);
    }
  }
  if (file.get_or("tokenizer.ggml.add_space_prefix", true)) parts.normalizer.add_prepend(space);
  parts.normalizer.add_replace(Regex::literal(" "), space);
}

}  // namespace

TokenizerParts read_tokenizer(const GgufFile& file) {
  const std::string_view model = file.get<std::string_view>("tokenizer.ggml.model");
  const bool scored = model == "llama";
  if (!scored && model != "gpt2") {
    fail(
        "{}: tokenizer '{}' is not supported, only BPE is, byte-level ('gpt2') or SentencePiece's ('llama'); "
        "dump "
        "with data/hf_dump.py",
        file.path(), model);
  }
  TokenizerParts parts;
  const Vocabulary vocabulary = read_vocabulary(file);
  parts.vocab_size = vocabulary.texts.size();
  if (scored) {
    parts.name = "llama";
    add_scored(file, vocabulary, parts);
  } else {
    const std::string_view label = file.get<std::string_view>("tokenizer.ggml.pre");
    parts.name = fmt::format("gpt2/{}", label);
    parts.pre_tokenizer = PreTokenizer(label);
    parts.whole_pieces_first = PreTokenizer::whole_pieces_first(label);
    if (PreTokenizer::normalises(label)) parts.normalizer.add(Normalizer::Form::nfc);
    add_byte_level(file, vocabulary, parts);
  }
  // SentencePiece's models begin with it unless they say otherwise, as in github.com/ggml-org/llama.cpp.
  if (file.get_or("tokenizer.ggml.add_bos_token", scored)) {
    parts.front.push_back(static_cast<int>(
        file.integer("tokenizer.ggml.bos_token_id", 0, static_cast<std::int64_t>(parts.vocab_size) - 1)));
  }
  return parts;
}

}  // namespace anchor
