#include "anchor/method/method_run.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace anchor {

ScalarMap fixed_params(const MethodRun& run) {
  ScalarMap params = run.params.values();
  params.erase(run.method->knob);
  return params;
}

std::vector<std::string> run_names(const std::vector<MethodRun>& runs) {
  std::vector<std::string> names;
  for (const MethodRun& run : runs) {
    std::string name;
    const ScalarMap mine = fixed_params(run);
    for (const auto& [key, value] : mine) {
      const bool differs = std::any_of(runs.begin(), runs.end(), [&](const MethodRun& other) {
        const ScalarMap theirs = fixed_params(other);
        const auto found = theirs.find(key);
        return other.method == run.method && found != theirs.end() && found->second != value;
      });
      if (!differs) continue;
      name += fmt::format("{}{}={}", name.empty() ? "" : " ", key, scalar_text(value));
    }
    const bool alone =
        std::all_of(runs.begin(), runs.end(), [&](const auto& other) { return other.method == run.method; });
    if (!alone || name.empty()) name = run.method->name + (name.empty() ? "" : " " + name);
    names.push_back(name);
  }
  return names;
}

}  // namespace anchor
