#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "anchor/model/regex.hpp"

namespace anchor {

/// Changes text before it is cut into pieces, in steps.
class Normalizer {
 public:
  enum class Form : std::uint8_t { nfc, nfd, nfkc, nfkd };

  /// Unicode normalisation (utf8proc).
  void add(Form form) { steps_.emplace_back(form); }
  /// Puts `text` in front of what is not empty; with `unless_there`, of what does not begin with it.
  void add_prepend(std::string text, bool unless_there = false) {
    steps_.emplace_back(Prepend{std::move(text), unless_there});
  }
  /// Every match of a pattern becomes `content`.
  void add_replace(Regex pattern, std::string content) {
    steps_.emplace_back(Replace{std::move(pattern), std::move(content)});
  }

  bool empty() const { return steps_.empty(); }
  /// `text` must be valid UTF-8.
  std::string apply(std::string_view text) const;

 private:
  struct Prepend {
    std::string text;
    bool unless_there;
  };
  struct Replace {
    Regex pattern;
    std::string content;
  };
  std::vector<std::variant<Form, Prepend, Replace>> steps_;
};

}  // namespace anchor
