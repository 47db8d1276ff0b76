#pragma once

#include <string>
#include <utility>
#include <vector>

#include "anchor/method/method_run.hpp"

namespace anchor::test {

/// Parameters as the command line would set them: name and text.
using Settings = std::vector<std::pair<std::string, std::string>>;

/// The method's defaults with these settings.
inline Params params_of(const Method& method, const Settings& settings) {
  Params params = default_params(method);
  for (const auto& [name, text] : settings) set_param(method, params, name, text);
  return params;
}

/// A run of a method at its defaults with these settings.
inline MethodRun run_of(const std::string& name, const Settings& settings = {}) {
  const Method& method = find_method(name);
  return {&method, params_of(method, settings)};
}

}  // namespace anchor::test
