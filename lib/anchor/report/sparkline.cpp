#include "anchor/report/sparkline.hpp"

#include <algorithm>
#include <cmath>

namespace anchor {

std::string sparkline(std::span<const double> values, double low, double high, int width, bool utf8) {
  constexpr const char* bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const std::size_t count = std::min(values.size(), static_cast<std::size_t>(std::max(1, width)));
  std::string text;
  for (std::size_t n = 0; n < count; ++n) {
    double sum = 0, known = 0;
    for (std::size_t at = n * values.size() / count; at < (n + 1) * values.size() / count; ++at) {
      if (std::isnan(values[at])) continue;
      sum += values[at];
      ++known;
    }
    if (known == 0) {
      text += ' ';
      continue;
    }
    const double position = high > low ? std::clamp((sum / known - low) / (high - low), 0.0, 1.0) : 1;
    const int levels = utf8 ? 8 : 10;
    const int level = std::min(levels - 1, static_cast<int>(position * levels));
    text += utf8 ? bars[level] : std::string(1, static_cast<char>('0' + level));
  }
  return text;
}

}  // namespace anchor
