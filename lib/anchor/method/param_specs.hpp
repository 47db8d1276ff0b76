#pragma once

#include <string>
#include <utility>

#include "anchor/method/params.hpp"

namespace anchor {

/// Short forms of parameter rows. A choice's default is its first word.
inline ParamSpec real_param(std::string name, double value, double minimum, double maximum,
                            std::string help) {
  return {.name = std::move(name),
          .default_value = value,
          .minimum = minimum,
          .maximum = maximum,
          .help = std::move(help)};
}

/// A number, or the word auto (the default).
inline ParamSpec real_or_auto_param(std::string name, double minimum, double maximum, std::string help) {
  ParamSpec spec = real_param(std::move(name), 0, minimum, maximum, std::move(help));
  spec.default_value = "auto";
  spec.choices = {"auto"};
  return spec;
}

inline ParamSpec integer_param(std::string name, double value, double minimum, double maximum,
                               std::string help) {
  ParamSpec spec = real_param(std::move(name), value, minimum, maximum, std::move(help));
  spec.kind = ParamSpec::Kind::integer;
  return spec;
}

/// Rows of a tile or keys of a block: at most 32768, so that the pairs of a tile and a block, and the rows of
/// a group of as many blocks, fit 32 bits on every device.
inline constexpr double most_block = 1 << 15;
inline ParamSpec block_param(std::string name, double value, std::string help) {
  return integer_param(std::move(name), value, 1, most_block, std::move(help) + "; at most 32768");
}

/// A number of tokens, at least `minimum`.
inline ParamSpec tokens_param(std::string name, double value, double minimum, std::string help) {
  return integer_param(std::move(name), value, minimum, 1 << 30, std::move(help));
}

inline ParamSpec choice_param(std::string name, std::vector<std::string> choices, std::string help) {
  return {.name = std::move(name),
          .kind = ParamSpec::Kind::choice,
          .default_value = choices[0],
          .choices = choices,
          .help = std::move(help)};
}

/// Any text, such as a file's name; empty by default.
inline ParamSpec text_param(std::string name, std::string help) {
  return {
      .name = std::move(name), .kind = ParamSpec::Kind::text, .default_value = "", .help = std::move(help)};
}

/// exact = float arithmetic on the stored inputs; official = rounded where the released code rounds.
inline ParamSpec rounding_param(std::string official) {
  return choice_param("rounding", {"exact", "official"},
                      "exact: float on the stored inputs; official: " + std::move(official));
}

inline bool official_rounding(const Params& params) { return params.choice("rounding") == "official"; }

}  // namespace anchor
