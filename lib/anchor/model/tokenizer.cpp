#include "anchor/model/tokenizer.hpp"

#include "anchor/base/error.hpp"
#include "anchor/model/gguf.hpp"
#include "anchor/model/hf_folder.hpp"
#include "anchor/model/utf8.hpp"

namespace anchor {

std::string byte_token(int byte) { return fmt::format("<0x{:02X}>", byte); }

Tokenizer::Tokenizer(const GgufFile& file) : parts_(read_tokenizer(file)) {}
Tokenizer::Tokenizer(const HfFolder& folder) : parts_(read_tokenizer(folder)) {}

void Tokenizer::encode_piece(std::string_view piece, std::vector<int>& ids) const {
  if (parts_.whole_pieces_first) {
    if (const auto whole = parts_.tokens.find(std::string(piece)); whole != parts_.tokens.end()) {
      ids.push_back(whole->second);
      return;
    }
  }
  if (parts_.byte_level) {
    parts_.bpe.encode(piece, ids);
    return;
  }
  std::vector<int> symbols;
  bool after_unknown = false;
  for (std::size_t at = 0; at < piece.size();) {
    std::size_t end = at + 1;
    while (end < piece.size() && (static_cast<unsigned char>(piece[end]) & 0xC0) == 0x80) ++end;
    const std::string character(piece.substr(at, end - at));
    at = end;
    const auto known = parts_.tokens.find(character);
    bool bytes = known == parts_.tokens.end() && !parts_.byte_tokens.empty();
    for (const char c : character) bytes = bytes && parts_.byte_tokens[static_cast<unsigned char>(c)] >= 0;
    if (known != parts_.tokens.end()) {
      symbols.push_back(known->second);
    } else if (bytes) {
      for (const char c : character) symbols.push_back(parts_.byte_tokens[static_cast<unsigned char>(c)]);
    } else if (parts_.unknown >= 0 && !(after_unknown && parts_.fuse_unknown)) {
      symbols.push_back(parts_.unknown);
    }
    after_unknown = known == parts_.tokens.end() && !bytes;
  }
  parts_.bpe.merge(symbols, ids);
}

Encoding Tokenizer::encode(std::string_view text) const {
  const CleanText clean = replace_invalid_utf8(text);
  const std::string_view all = clean.text;
  Encoding encoding{parts_.front, clean.replaced};

  std::unordered_map<std::string, std::vector<int>> seen;  // most pieces are words that come again
  const auto encode_pieces = [&](std::string_view whole) {
    for (const std::string_view piece : parts_.pre_tokenizer.split(whole)) {
      if (piece.size() > 256) {
        encode_piece(piece, encoding.ids);
        continue;
      }
      const auto [entry, fresh] = seen.try_emplace(std::string(piece));
      if (fresh) encode_piece(piece, entry->second);
      encoding.ids.insert(encoding.ids.end(), entry->second.begin(), entry->second.end());
    }
  };
  const auto encode_spaced = [&](std::string_view stretch, bool at_start) {
    if (parts_.spacing.empty() && parts_.start.empty()) return encode_pieces(stretch);
    std::string spaced = parts_.spacing.apply(stretch);
    if (at_start && !spaced.starts_with(parts_.start)) spaced.insert(0, parts_.start);
    encode_pieces(spaced);
  };
  for (const AddedTokens::Part& part : parts_.added.split(all)) {
    if (part.id >= 0) {
      encoding.ids.push_back(part.id);
      continue;
    }
    const std::string normalised =
        parts_.normalizer.empty() ? std::string() : parts_.normalizer.apply(part.text);
    const std::string_view stretch = parts_.normalizer.empty() ? part.text : std::string_view(normalised);
    for (const AddedTokens::Part& inner : parts_.normalized_added.split(stretch)) {
      if (inner.id >= 0) {
        encoding.ids.push_back(inner.id);
      } else {
        encode_spaced(inner.text, part.text.data() == all.data() && inner.text.data() == stretch.data());
      }
    }
  }
  return encoding;
}

std::vector<std::string> Tokenizer::token_texts() const {
  std::vector<std::string> texts(parts_.vocab_size);
  for (const auto& [text, id] : parts_.tokens) {
    std::string& place = texts[static_cast<std::size_t>(id)];
    place = text;
    if (parts_.byte_level) continue;
    for (std::size_t at = 0; (at = place.find("\u2581", at)) != std::string::npos;) place.replace(at, 3, " ");
  }
  for (std::size_t byte = 0; byte < parts_.byte_tokens.size(); ++byte) {
    if (parts_.byte_tokens[byte] >= 0)
      texts[static_cast<std::size_t>(parts_.byte_tokens[byte])] = static_cast<char>(byte);
  }
  parts_.added.texts(texts);
  parts_.normalized_added.texts(texts);
  return texts;
}

}  // namespace anchor
