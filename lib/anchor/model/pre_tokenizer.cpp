#include "anchor/model/pre_tokenizer.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

constexpr const char* digit = "\\p{N}";
constexpr const char* gpt2 =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
#define MODERN(NUMBERS)                                                 \
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" NUMBERS \
  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
constexpr const char* llama3 = MODERN("\\p{N}{1,3}");
constexpr const char* qwen2 = MODERN("\\p{N}");

struct LabelRow {
  std::string_view label;
  std::vector<const char*> patterns;  ///< applied in turn, each within the pieces of the one before
  bool whole_pieces_first = false;
  bool normalises = false;
};

const LabelRow labels[] = {
    {"gpt-2", {gpt2}},          {"smollm", {digit, gpt2}},       {"starcoder", {digit, gpt2}},
    {"refact", {digit, gpt2}},  {"llama-bpe", {llama3}, true},   {"llama-v3", {llama3}, true},
    {"llama3", {llama3}, true}, {"qwen2", {qwen2}, false, true},
};

const LabelRow& row_of(std::string_view label) {
  std::string known;
  for (const LabelRow& row : labels) {
    if (row.label == label) return row;
    known.append(known.empty() ? "" : ", ").append(row.label);
  }
  fail("pre-tokenizer '{}' is not supported; known are {}", label, known);
}

}  // namespace

PreTokenizer::PreTokenizer(std::string_view label) {
  for (const char* pattern : row_of(label).patterns) add(Regex(pattern), Matches::isolated);
}

void PreTokenizer::add(Regex pattern, Matches matches, bool inverted) {
  steps_.push_back({std::move(pattern), matches, inverted});
}

void PreTokenizer::add_gpt2() { add(Regex(gpt2), Matches::isolated); }

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
  std::vector<std::string_view> pieces;
  if (!text.empty()) pieces.push_back(text);
  struct Part {
    std::size_t begin, end;
    bool match;
  };
  std::vector<Part> parts;
  for (const Step& step : steps_) {
    std::vector<std::string_view> finer;
    for (const std::string_view piece : pieces) {
      parts.clear();
      std::size_t done = 0;
      while (const auto match = step.pattern.find(piece, done)) {
        if (match->begin > done) parts.push_back({done, match->begin, step.inverted});
        parts.push_back({match->begin, match->end, !step.inverted});
        done = match->end;
      }
      if (done < piece.size()) parts.push_back({done, piece.size(), step.inverted});
      // Neighbours join as the behaviour says.
      std::size_t begin = 0;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const bool last = i + 1 == parts.size(), match = parts[i].match;
        if (step.matches == Matches::removed && match) {
          begin = parts[i].end;
          continue;
        }
        const bool joins =
            !last && ((step.matches == Matches::with_previous && !match && parts[i + 1].match) ||
                      (step.matches == Matches::with_next && match && !parts[i + 1].match) ||
                      (step.matches == Matches::contiguous && match == parts[i + 1].match));
        if (joins) continue;
        finer.push_back(piece.substr(begin, parts[i].end - begin));
        begin = parts[i].end;
      }
    }
    pieces = std::move(finer);
  }
  return pieces;
}

bool PreTokenizer::whole_pieces_first(std::string_view label) { return row_of(label).whole_pieces_first; }
bool PreTokenizer::normalises(std::string_view label) { return row_of(label).normalises; }

}  // namespace anchor
