#include "anchor/method/method_run.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "anchor/base/number.hpp"

namespace anchor {

ScalarMap fixed_params(const MethodRun& run) {
  ScalarMap params = run.params.values();
  params.erase(run.method->knob);
  return params;
}

MethodRun with_own_knobs(MethodRun run) {
  if (!run.method->own_knobs) return run;
  const auto& [name, value] = *run.method->own_knobs;
  if (run.params.choice(name) == default_params(*run.method).choice(name)) run.params.set(name, value);
  return run;
}

std::string dense_hint(const MethodRun& run, double density, std::int64_t tokens) {
  constexpr double nearly_all = 0.97;
  constexpr std::int64_t short_text = 2048;
  const Method& method = *run.method;
  if (density < nearly_all || tokens > short_text || method.knob.empty()) return {};
  std::string large;  // what counts tokens and holds for texts of this length alone
  for (const ParamSpec& spec : method.params) {
    if (spec.kind != ParamSpec::Kind::integer || run.params.is_word(spec.name)) continue;
    const std::int64_t value = run.params.integer(spec.name);
    if (value * 4 < tokens) continue;
    large += fmt::format("{}{}={}", large.empty() ? "" : ", ", spec.name, value);
  }
  return fmt::format("hint: {} keeps {:.0f} % of the pairs of {} tokens{}; {} or take a longer text",
                     method.name, 100 * density, tokens, large.empty() ? "" : fmt::format(" ({})", large),
                     large.empty() ? fmt::format("try another {}", method.knob) : "set less with --set");
}

std::string run_title(const MethodRun& run, bool per_head) {
  const std::string& knob = run.method->knob;
  if (knob.empty()) return run.method->name;
  if (per_head) return fmt::format("{} {} per head", run.method->name, knob);
  return fmt::format("{} {}={}", run.method->name, knob, format_number(run.params.real(knob)));
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
