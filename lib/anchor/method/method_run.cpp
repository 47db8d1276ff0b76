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
    for (const ScalarMap::value_type& own : mine) {
      const bool differs = std::any_of(runs.begin(), runs.end(), [&](const MethodRun& other) {
        const ScalarMap theirs = fixed_params(other);
        const auto found = theirs.find(own.first);
        return other.method == run.method && found != theirs.end() && found->second != own.second;
      });
      if (differs)
        name += fmt::format("{}{}={}", name.empty() ? "" : " ", own.first, scalar_text(own.second));
    }
    const bool alone =
        std::all_of(runs.begin(), runs.end(), [&](const auto& other) { return other.method == run.method; });
    if (name.empty())
      name = run.method->name;
    else if (!alone)
      name = fmt::format("{} {}", run.method->name, name);
    names.push_back(name);
  }
  return names;
}

}  // namespace anchor
