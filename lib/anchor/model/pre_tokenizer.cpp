#include "anchor/model/pre_tokenizer.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

// \s of the tokenizers is Unicode's White_Space, which PCRE2's \s is not (it adds U+180E); so both classes
// are spelt out.
#define WHITE \
  "\\x{9}-\\x{D} \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
#define S "[" WHITE "]"

constexpr const char* digit = "\\p{N}";
constexpr const char* gpt2 =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" WHITE "\\p{L}\\p{N}]+|" S "+(?![^" WHITE "])|" S "+";
#define MODERN(NUMBERS)                                                               \
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" NUMBERS "| ?[^" WHITE \
  "\\p{L}\\p{N}]+[\\r\\n]*|" S "*[\\r\\n]+|" S "+(?![^" WHITE "])|" S "+"
constexpr const char* llama3 = MODERN("\\p{N}{1,3}");
constexpr const char* qwen2 = MODERN("\\p{N}");

struct LabelRow {
  std::string_view label;
  std::vector<const char*> patterns;  ///< applied in turn, each within the pieces of the one before
  bool whole_pieces_first = false;
  bool expects_nfc = false;
};

const LabelRow labels[] = {
    {"gpt-2", {gpt2}},
    {"smollm", {digit, gpt2}},
    {"starcoder", {digit, gpt2}},
    {"llama-bpe", {llama3}, true},
    {"qwen2", {qwen2}, false, true},
};

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};
using Code = std::unique_ptr<pcre2_code, FreeCode>;
using Match = std::unique_ptr<pcre2_match_data, FreeMatch>;

Code compile(const char* pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                          &error, &offset, nullptr));
  if (!code) fail("pre-tokenizer pattern does not compile (PCRE2 error {} at {})", error, offset);
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // without JIT the interpreter gives the same matches
  return code;
}

// Appends what lies between matches and the matches themselves, in order.
void split_by(const pcre2_code* code, std::string_view text, std::vector<std::string_view>& pieces) {
  const Match match(pcre2_match_data_create(1, nullptr));
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  std::size_t done = 0;
  while (done < text.size()) {
    const int found = pcre2_match(code, subject, text.size(), done, PCRE2_NO_UTF_CHECK, match.get(), nullptr);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) fail("splitting the text at byte {} failed (PCRE2 error {})", done, found);
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(match.get());
    if (span[0] > done) pieces.push_back(text.substr(done, span[0] - done));
    pieces.push_back(text.substr(span[0], span[1] - span[0]));
    done = span[1];
  }
  if (done < text.size()) pieces.push_back(text.substr(done));
}

}  // namespace

struct PreTokenizer::Rules {
  const LabelRow& row;
  std::vector<Code> codes;
};

PreTokenizer::PreTokenizer(std::string_view label) {
  std::string known;
  for (const LabelRow& row : labels) {
    known.append(known.empty() ? "" : ", ").append(row.label);
    if (row.label != label) continue;
    rules_.reset(new Rules{row, {}});
    for (const char* pattern : row.patterns) rules_->codes.push_back(compile(pattern));
  }
  if (!rules_) fail("pre-tokenizer '{}' is not supported; known are {}", label, known);
}

PreTokenizer::~PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
  std::vector<std::string_view> pieces{text};
  for (const Code& code : rules_->codes) {
    std::vector<std::string_view> finer;
    for (std::string_view piece : pieces) split_by(code.get(), piece, finer);
    pieces = std::move(finer);
  }
  return pieces;
}

bool PreTokenizer::whole_pieces_first() const { return rules_->row.whole_pieces_first; }
bool PreTokenizer::expects_nfc() const { return rules_->row.expects_nfc; }

}  // namespace anchor
