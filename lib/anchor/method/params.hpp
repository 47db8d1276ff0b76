#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "anchor/base/number.hpp"
#include "anchor/base/scalar.hpp"

namespace anchor {

/// One parameter of a method: the only place where its default lives.
struct ParamSpec {
  enum class Kind { real, integer, choice, text };
  std::string name;
  Kind kind = Kind::real;
  Scalar default_value;
  double minimum = 0, maximum = 0;  ///< inclusive; numbers only
  std::vector<std::string>
      choices;       ///< of a choice; the first is the default. Of a number: words that may replace it
  std::string help;  ///< with the unit
};

/// Parameter values of one method: complete (defaults filled in) and checked.
class Params {
 public:
  double real(std::string_view name) const;
  std::int64_t integer(std::string_view name) const;
  const std::string& choice(std::string_view name) const;
  const std::string& text(std::string_view name) const { return choice(name); }
  /// True if a word stands in place of a number.
  bool is_word(std::string_view name) const;
  void set(const std::string& name, Scalar value) { values_[name] = std::move(value); }
  const ScalarMap& values() const { return values_; }

 private:
  ScalarMap values_;
};

}  // namespace anchor
