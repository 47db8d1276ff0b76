#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>

#include "anchor/base/number.hpp"

namespace anchor::cli {

/// Lets a whole-number option take the suffixes k, M and G (powers of 1024): --seq 8k.
inline CLI::Validator whole_number(double minimum = 1) {
  return CLI::Validator(
      [minimum](std::string& text) -> std::string {
        const auto value = parse_number(text);
        if (!value || *value != std::floor(*value) || *value < minimum || *value > 1e15) {
          return fmt::format("{} is not a whole number of at least {}", text, minimum);
        }
        text = fmt::format("{:.0f}", *value);
        return "";
      },
      "");
}

}  // namespace anchor::cli
