#include "anchor/rows/target.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"

namespace anchor {

Target parse_target(std::string_view text, std::string_view flag,
                    std::initializer_list<std::string_view> known) {
  const auto equals = text.find('=');
  const std::string_view metric = text.substr(0, equals);
  const auto value = equals == std::string_view::npos ? std::nullopt : parse_number(text.substr(equals + 1));
  if (!value) fail_usage("{} {}: write METRIC=VALUE, such as mass_recall=0.95", flag, text);
  if (std::find(known.begin(), known.end(), metric) == known.end())
    fail_usage("{} {}: the metric is {}", flag, text, fmt::join(known, " or "));
  if (!(*value > 0 && *value < 1))
    fail_usage("{} {}: the value must lie between 0 and 1 (what dense attention reaches)", flag, text);
  return {std::string(metric), "mean", *value};
}

}  // namespace anchor
