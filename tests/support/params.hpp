#pragma once

#include <string>
#include <utility>
#include <vector>

#include "anchor/method/method.hpp"

namespace anchor::test {

/// Parameters as the command line would set them: name and text.
using Settings = std::vector<std::pair<std::string, std::string>>;

/// The method's defaults with these settings.
inline Params params_of(const Method& method, const Settings& settings) {
  Params params = default_params(method);
  for (const auto& [name, text] : settings) set_param(method, params, name, text);
  return params;
}

}  // namespace anchor::test
