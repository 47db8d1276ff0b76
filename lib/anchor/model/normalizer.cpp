#include "anchor/model/normalizer.hpp"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

std::string normalised(std::string_view text, Normalizer::Form form) {
  using Form = Normalizer::Form;
  int options = UTF8PROC_STABLE;
  options |= form == Form::nfc || form == Form::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == Form::nfkc || form == Form::nfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* out = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &out, static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(out, &std::free);
  if (length < 0) fail("normalising the text failed: {}", utf8proc_errmsg(length));
  return {reinterpret_cast<const char*>(out), static_cast<std::size_t>(length)};
}

std::string replaced(std::string_view text, const Regex& pattern, const std::string& content) {
  std::string out;
  std::size_t done = 0;
  while (const auto match = pattern.find(text, done)) {
    out.append(text, done, match->begin - done).append(content);
    done = match->end;
  }
  return out.append(text, done);
}

/// A few replacements in a row can make gigabytes of a line. A compatibility form, the longest of real rules,
/// makes up to eighteen characters of one.
void check_growth(std::size_t before, std::size_t after) {
  constexpr std::size_t times = 64, room = std::size_t{1} << 20;
  if (after > before * times + room)
    fail("the tokenizer's normalizer makes {} bytes of a text of {}; its rules are not sound", after, before);
}

}  // namespace

std::string Normalizer::apply(std::string_view text) const {
  std::string now(text);
  for (const auto& step : steps_) {
    if (now.empty()) break;
    if (const Form* form = std::get_if<Form>(&step)) {
      now = normalised(now, *form);
    } else if (const Prepend* prepend = std::get_if<Prepend>(&step)) {
      if (!prepend->unless_there || !now.starts_with(prepend->text)) now.insert(0, prepend->text);
    } else if (const Replace* replace = std::get_if<Replace>(&step)) {
      now = replaced(now, replace->pattern, replace->content);
    }
    check_growth(text.size(), now.size());
  }
  return now;
}

}  // namespace anchor
