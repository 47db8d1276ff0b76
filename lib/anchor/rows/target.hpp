#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace anchor {

/// What a search has to reach: a statistic of a metric.
struct Target {
  std::string metric = "mass_recall";
  std::string statistic = "mean";
  double value = 0.95;
};

/// Reads "METRIC=VALUE", such as mass_recall=0.95, for the option `flag`. Usage errors: another form, a
/// metric that is not in `known`, a value outside (0, 1): dense attention reaches a recall of 1 and an error
/// of 0.
Target parse_target(std::string_view text, std::string_view flag,
                    std::initializer_list<std::string_view> known);

}  // namespace anchor
