#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>

#include "anchor/base/number.hpp"

namespace anchor::cli {

/// Lets a whole-number option take the suffixes k, M and G (powers of 1024): --seq 8k. For transform().
inline CLI::Validator whole_number(double minimum = 1, double maximum = 1e15) {
  return CLI::Validator(
      [minimum, maximum](std::string& text) -> std::string {
        const auto value = parse_number(text);
        const bool whole = value && *value == std::floor(*value) && *value >= minimum;
        if (!whole) return fmt::format("{} is not a whole number of at least {}", text, minimum);
        if (*value > maximum) return fmt::format("{} is more than {:.0f}", text, maximum);
        text = fmt::format("{:.0f}", *value);
        return "";
      },
      "");
}

/// A number in [low, high]; `above`: the lower end is not in it. For check().
inline CLI::Validator real_number(double low, double high = HUGE_VAL, bool above = false) {
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        const auto value = parse_number(text);
        if (value && (above ? *value > low : *value >= low) && *value <= high) return "";
        const std::string least =
            std::isinf(low) ? "" : fmt::format(" {} {}", above ? "above" : "of at least", low);
        return fmt::format("{} is not a number{}{}", text, least,
                           std::isinf(high) ? "" : fmt::format(" and at most {}", high));
      },
      "");
}

inline CLI::Validator positive_number() { return real_number(0, HUGE_VAL, true); }

}  // namespace anchor::cli
