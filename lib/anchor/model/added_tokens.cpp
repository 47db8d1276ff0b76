#include "anchor/model/added_tokens.hpp"

#include <algorithm>

#include "anchor/model/utf8.hpp"

namespace anchor {
namespace {

const Regex& space_at_end() {
  static const Regex pattern("\\s+\\z");
  return pattern;
}
const Regex& space_at_begin() {
  static const Regex pattern("\\A\\s+");
  return pattern;
}
const Regex& word_at_end() {
  static const Regex pattern("\\w\\z");
  return pattern;
}
const Regex& word_at_begin() {
  static const Regex pattern("\\A\\w");
  return pattern;
}

// The white space that ends `text`, found from its last few characters: a search over the whole text for
// every token would take quadratic time.
std::size_t trailing_space(std::string_view text) {
  std::size_t taken = 0;
  while (taken < text.size()) {
    std::size_t begin = text.size() - taken - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    if (!space_at_end().find(text.substr(begin, text.size() - taken - begin), 0)) break;
    taken = text.size() - begin;
  }
  return taken;
}

bool ends_with_word(std::string_view text) {
  if (text.empty()) return false;
  std::size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return word_at_end().find(text.substr(begin), 0).has_value();
}

}  // namespace

void AddedTokens::add(AddedToken token) {
  // No text holds a token that is not UTF-8; half of a character would cut others.
  if (token.text.empty() || replace_invalid_utf8(token.text).replaced > 0) return;
  auto& group = by_first_[static_cast<unsigned char>(token.text[0])];
  const auto shorter = std::find_if(group.begin(), group.end(), [&](const AddedToken& other) {
    return other.text.size() < token.text.size();
  });
  group.insert(shorter, std::move(token));
  ++count_;
}

const AddedToken* AddedTokens::at(std::string_view text, std::size_t place) const {
  for (const AddedToken& token : by_first_[static_cast<unsigned char>(text[place])]) {
    if (text.substr(place).starts_with(token.text)) return &token;
  }
  return nullptr;
}

std::vector<AddedTokens::Part> AddedTokens::split(std::string_view text) const {
  std::vector<Part> parts;
  std::size_t done = 0;
  for (std::size_t place = 0; place < text.size();) {
    const AddedToken* token = count_ == 0 ? nullptr : at(text, place);
    if (!token) {
      ++place;
      continue;
    }
    std::size_t begin = place, end = place + token->text.size();
    place = end;
    if (token->single_word &&
        (ends_with_word(text.substr(0, begin)) || word_at_begin().find(text.substr(end), 0))) {
      continue;
    }
    if (token->lstrip) begin = std::max(done, begin - trailing_space(text.substr(0, begin)));
    if (token->rstrip) {
      if (const auto space = space_at_begin().find(text.substr(end), 0)) end += space->end;
    }
    begin = std::max(begin, done);
    if (begin > done) parts.push_back({text.substr(done, begin - done), -1});
    parts.push_back({text.substr(begin, end - begin), token->id});
    done = end;
    place = std::max(place, end);
  }
  if (done < text.size()) parts.push_back({text.substr(done), -1});
  return parts;
}

void AddedTokens::texts(std::vector<std::string>& by_id) const {
  for (const auto& group : by_first_) {
    for (const AddedToken& token : group) {
      if (static_cast<std::size_t>(token.id) < by_id.size())
        by_id[static_cast<std::size_t>(token.id)] = token.text;
    }
  }
}

}  // namespace anchor
