#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace anchor {

/// Reads a number as the command line writes it: 12, 0.5, 8k (k = 1024), 4G (M, G alike), inf, -inf. Empty if
/// the text is anything else (NaN is never a number here).
std::optional<double> parse_number(std::string_view text);

/// The shortest text that reads back as the same number; infinities as "inf" and "-inf".
std::string format_number(double value);

}  // namespace anchor
