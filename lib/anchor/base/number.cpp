#include "anchor/base/number.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace anchor {

std::optional<double> parse_number(std::string_view text) {
  double scale = 1;
  if (!text.empty()) {
    switch (text.back()) {
      case 'k':
        scale = 1024;
        break;
      case 'M':
        scale = 1024 * 1024;
        break;
      case 'G':
        scale = 1024 * 1024 * 1024;
        break;
      default:
        break;
    }
  }
  if (scale != 1) text.remove_suffix(1);
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || std::isnan(value)) return std::nullopt;
  if (std::isfinite(value) && !std::isfinite(value * scale)) return std::nullopt;
  return value * scale;
}

std::string format_number(double value) {
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  if (value == std::floor(value) && std::abs(value) < 1e15) return fmt::format("{:.0f}", value);
  return fmt::format("{}", value);
}

}  // namespace anchor
