#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace anchor {

/// Lists and inclusive ranges as every tool's flags take them. An item is a number (`8k`, `-inf`), an integer
/// range `a-b`, a geometric range `a-b*m`, or a linear range `a:b` / `a:b:step`; items are joined by commas.
///     8k,32k        8192 32768            0-29        0 1 ... 29
///     8k-128k*2     8192 16384 ... 131072 4:16:0.5    4 4.5 ... 16
/// `what` names the flag in the usage error.
std::vector<double> parse_list(std::string_view text, std::string_view what);

/// The same for whole numbers in [minimum, maximum]; the result is in the order given.
std::vector<std::int64_t> parse_integers(std::string_view text, std::string_view what, std::int64_t minimum,
                                         std::int64_t maximum);

/// Cuts a comma list into its items, spaces around them removed. Empty items are usage errors.
std::vector<std::string> split_list(std::string_view text, std::string_view what);

}  // namespace anchor
