#include "anchor/model/regex.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

// PCRE2's own \s adds U+180E. In Ruby's syntax, which Oniguruma has by default, {1,3}+ repeats the group,
// where PCRE2 would not give back what it took.
std::string translated(std::string_view pattern) {
  std::string out;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i], next = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    if (c == '\\' && next != '\0') {
      if (next == 's') {
        out += "\\p{White_Space}";
      } else if (next == 'S') {
        out += "\\P{White_Space}";
      } else {
        out += {c, next};
      }
      ++i;
      continue;
    }
    const bool counted =
        c == '}' && out.size() >= 2 && i > 0 && pattern[i - 1] >= '0' && pattern[i - 1] <= '9';
    if (counted && next == '+')
      fail("the pattern '{}' repeats a counted repetition, which is not supported", pattern);
    out += c;
  }
  return out;
}

struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};
struct FreeContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

/// What one match may try: a sound pattern takes a few steps for each byte; nested repetitions that never fit
/// take exponentially many, and PCRE2's own limit allows them a second at every place of the text.
std::uint32_t steps_for(std::size_t bytes) {
  constexpr std::size_t least = 10'000, each = 100, most = 10'000'000;
  return static_cast<std::uint32_t>(std::min(most, least + each * std::min(bytes, most)));
}

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  ~Code() { pcre2_code_free(code); }

  static std::unique_ptr<Code> compile(std::string_view pattern, std::uint32_t options) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    auto made = std::make_unique<Code>();
    made->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &error,
                               &offset, nullptr);
    if (!made->code)
      fail("the tokenizer's pattern '{}' does not compile (PCRE2 error {} at {})", pattern, error, offset);
    pcre2_jit_compile(made->code, PCRE2_JIT_COMPLETE);  // without JIT the interpreter gives the same matches
    return made;
  }
};

Regex::Regex(std::string_view pattern)
    : code_(Code::compile(translated(pattern), PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C)) {}
Regex::Regex(std::unique_ptr<Code> code) : code_(std::move(code)) {}
Regex Regex::literal(std::string_view text) { return Regex(Code::compile(text, PCRE2_UTF | PCRE2_LITERAL)); }
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

std::optional<Regex::Match> Regex::find(std::string_view text, std::size_t from) const {
  const std::unique_ptr<pcre2_match_data, FreeMatch> match(pcre2_match_data_create(1, nullptr));
  const std::unique_ptr<pcre2_match_context, FreeContext> context(pcre2_match_context_create(nullptr));
  pcre2_set_match_limit(context.get(), steps_for(text.size()));
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  while (from < text.size()) {
    const int found =
        pcre2_match(code_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, match.get(), context.get());
    if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
    if (found < 0) fail("splitting the text at byte {} failed (PCRE2 error {})", from, found);
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(match.get());
    if (span[0] < from) fail("the tokenizer's pattern matches what lies before byte {}", from);
    if (span[1] > span[0]) return Match{span[0], span[1]};
    from = span[0] + 1;
    while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
  }
  return std::nullopt;
}

}  // namespace anchor
