#pragma once

#include <span>
#include <string>

namespace anchor {

/// A series as one line of bars, each of one character, from `low` (the lowest bar) to `high`; NaN is a
/// space. At most `width` characters: of a longer series each bar shows the mean of its share. Without `utf8`
/// the bars are the digits 0 to 9.
std::string sparkline(std::span<const double> values, double low, double high, int width, bool utf8 = true);

}  // namespace anchor
