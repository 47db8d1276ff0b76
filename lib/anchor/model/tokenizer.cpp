#include "anchor/model/tokenizer.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/model/utf8.hpp"

namespace anchor {
namespace {

constexpr std::int64_t control_token = 3,
                       user_defined_token = 4;  // llama.cpp's token types that are matched in text

// GPT-2 writes every byte as a printable character: the visible Latin-1 ones as themselves, the rest from
// U+0100 on (bytes_to_unicode in github.com/openai/gpt-2/blob/master/src/encoder.py).
class ByteAlphabet {
 public:
  ByteAlphabet() {
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      bytes_[utf8(visible ? byte : next++)] = static_cast<char>(byte);
    }
  }

  /// The bytes that a vocabulary entry stands for; false when a character is none of the 256.
  bool decode(std::string_view text, std::string& bytes) const {
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

 private:
  static std::string utf8(int code_point) {  // below 0x800
    if (code_point < 0x80) return {static_cast<char>(code_point)};
    return {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
  }

  std::unordered_map<std::string, char> bytes_;
};

std::string_view pre_tokenizer_label(const GgufFile& file) {
  const std::string_view model = file.get<std::string_view>("tokenizer.ggml.model");
  if (model != "gpt2") {
    fail("{}: tokenizer '{}' is not supported, only byte-level BPE ('gpt2') is; dump with data/hf_dump.py",
         file.path(), model);
  }
  return file.get<std::string_view>("tokenizer.ggml.pre");
}

}  // namespace

Tokenizer::Tokenizer(const GgufFile& file)
    : name_(fmt::format("gpt2/{}", pre_tokenizer_label(file))), pre_tokenizer_(pre_tokenizer_label(file)) {
  const auto& vocabulary = file.get<GgufFile::Strings>("tokenizer.ggml.tokens");
  vocab_size_ = vocabulary.size();
  GgufFile::Integers types(vocab_size_, 1);
  if (file.has("tokenizer.ggml.token_type"))
    types = file.get<GgufFile::Integers>("tokenizer.ggml.token_type");
  if (types.size() != vocab_size_) {
    fail("{}: {} token types for {} tokens", file.path(), types.size(), vocab_size_);
  }
  if (vocab_size_ > (std::size_t{1} << 30)) fail("{}: {} tokens are too many", file.path(), vocab_size_);

  const ByteAlphabet alphabet;
  std::string bytes;
  for (std::size_t i = 0; i < vocab_size_; ++i) {
    const int id = static_cast<int>(i);
    if (types[i] == control_token || types[i] == user_defined_token) {
      if (!vocabulary[i].empty())
        added_[static_cast<unsigned char>(vocabulary[i][0])].push_back({vocabulary[i], id});
    } else if (alphabet.decode(vocabulary[i],
                               bytes)) {  // others, such as padding entries, cannot occur in text
      const auto [entry, fresh] = tokens_.emplace(bytes, id);
      if (!fresh)
        fail("{}: tokens {} and {} are the same ('{}')", file.path(), entry->second, id, vocabulary[i]);
      if (bytes.size() == 1) bpe_.set_byte(static_cast<unsigned char>(bytes[0]), id);
    }
  }
  for (auto& group : added_) {
    std::stable_sort(group.begin(), group.end(),
                     [](auto& a, auto& b) { return a.text.size() > b.text.size(); });
  }

  const auto& merges = file.get<GgufFile::Strings>("tokenizer.ggml.merges");
  std::string left, right;
  for (std::string_view merge : merges) {
    const std::size_t space = merge.find(' ');
    const bool readable = space != std::string_view::npos && alphabet.decode(merge.substr(0, space), left) &&
                          alphabet.decode(merge.substr(space + 1), right);
    const auto first = tokens_.find(left), second = tokens_.find(right), merged = tokens_.find(left + right);
    if (!readable || first == tokens_.end() || second == tokens_.end() || merged == tokens_.end()) {
      fail("{}: merge '{}' does not join two tokens into a third", file.path(), merge);
    }
    if (!bpe_.add_merge(first->second, second->second, merged->second)) {
      fail("{}: merge '{}' occurs twice", file.path(), merge);
    }
  }

  if (file.get_or<bool>("tokenizer.ggml.add_bos_token", false)) {
    bos_ = static_cast<int>(
        file.integer("tokenizer.ggml.bos_token_id", 0, static_cast<std::int64_t>(vocab_size_) - 1));
  }
}

const Tokenizer::Added* Tokenizer::added_at(std::string_view text, std::size_t at) const {
  for (const Added& added : added_[static_cast<unsigned char>(text[at])]) {
    if (text.substr(at).starts_with(added.text)) return &added;
  }
  return nullptr;
}

void Tokenizer::encode_piece(std::string_view piece, std::vector<int>& ids) const {
  if (pre_tokenizer_.whole_pieces_first()) {
    if (const auto whole = tokens_.find(std::string(piece)); whole != tokens_.end()) {
      ids.push_back(whole->second);
      return;
    }
  }
  bpe_.encode(piece, ids);
}

Encoding Tokenizer::encode(std::string_view text) const {
  const CleanText clean = replace_invalid_utf8(text);
  const std::string_view all = clean.text;
  Encoding encoding{{}, clean.replaced};
  if (bos_ >= 0) encoding.ids.push_back(bos_);

  std::unordered_map<std::string_view, std::vector<int>> seen;  // most pieces are words that come again
  std::size_t begin = 0;
  const auto encode_until = [&](std::size_t end) {
    for (std::string_view piece : pre_tokenizer_.split(all.substr(begin, end - begin))) {
      const auto [entry, fresh] = seen.try_emplace(piece);
      if (fresh) encode_piece(piece, entry->second);
      encoding.ids.insert(encoding.ids.end(), entry->second.begin(), entry->second.end());
    }
  };
  for (std::size_t at = 0; at < all.size();) {
    const Added* added = added_at(all, at);
    if (!added) {
      ++at;
      continue;
    }
    encode_until(at);
    encoding.ids.push_back(added->id);
    begin = at = at + added->text.size();
  }
  encode_until(all.size());
  return encoding;
}

std::vector<std::string> Tokenizer::token_texts() const {
  std::vector<std::string> texts(vocab_size_);
  for (const auto& [text, id] : tokens_) texts[static_cast<std::size_t>(id)] = text;
  for (const auto& group : added_) {
    for (const Added& added : group) texts[static_cast<std::size_t>(added.id)] = added.text;
  }
  return texts;
}

}  // namespace anchor
