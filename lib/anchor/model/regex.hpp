#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace anchor {

/// A regular expression over UTF-8 text (PCRE2), with the meaning that it has in Hugging Face's tokenizers
/// (Oniguruma): \s is Unicode's White_Space.
class Regex {
 public:
  /// A data error where it does not compile, or would mean something else here.
  explicit Regex(std::string_view pattern);
  /// A pattern that is taken letter by letter.
  static Regex literal(std::string_view text);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  struct Match {
    std::size_t begin, end;
  };
  /// The first match at or after `from`; matches of length 0 are passed over. `text` must be valid UTF-8.
  std::optional<Match> find(std::string_view text, std::size_t from) const;

 private:
  struct Code;
  explicit Regex(std::unique_ptr<Code> code);
  std::unique_ptr<Code> code_;
};

}  // namespace anchor
