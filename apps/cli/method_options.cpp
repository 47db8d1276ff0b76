#include "cli/method_options.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/base/number.hpp"

namespace anchor::cli {
namespace {

/// Parameters that have a flag of their own, for any method that has them.
constexpr const char* direct_flags[] = {"theta", "gamma", "alpha", "tau", "block", "step", "stride", "mode"};

const ParamSpec* spec_of(const Method& method, const std::string& name) {
  const auto it = std::find_if(method.params.begin(), method.params.end(),
                               [&](const auto& spec) { return spec.name == name; });
  return it == method.params.end() ? nullptr : &*it;
}

/// What a flag sets, by the methods that have the parameter: equal names need not mean the same thing.
std::string meanings(const std::string& name) {
  std::vector<std::pair<std::string, std::vector<std::string>>> found;  // help, methods
  for (const Method& method : methods()) {
    const ParamSpec* spec = spec_of(method, name);
    if (spec == nullptr) continue;
    const auto same = std::find_if(found.begin(), found.end(),
                                   [&](const auto& entry) { return entry.first == spec->help; });
    if (same == found.end()) {
      found.push_back({spec->help, {method.name}});
    } else {
      same->second.push_back(method.name);
    }
  }
  std::vector<std::string> texts;
  for (const auto& [help, names] : found)
    texts.push_back(fmt::format("{} ({})", help, fmt::join(names, ", ")));
  return fmt::format("{}", fmt::join(texts, " | "));
}

std::vector<const Method*> chosen_methods(const std::string& names) {
  std::vector<const Method*> chosen;
  for (const std::string& name : split_list(names, "--method")) {
    if (name == "all") {
      for (const Method& method : methods()) chosen.push_back(&method);
    } else {
      chosen.push_back(&find_method(name));
    }
  }
  for (auto it = chosen.begin(); it != chosen.end(); ++it) {
    if (std::find(chosen.begin(), it, *it) != it) fail_usage("--method: {} is named twice", (*it)->name);
  }
  return chosen;
}

/// One KEY=VALUE of --set, for one method.
struct Setting {
  const Method* method;
  std::string key, value;
};

std::vector<Setting> settings(const MethodOptions& options, const std::vector<const Method*>& chosen) {
  std::vector<Setting> found;
  for (const std::string& text : options.set) {
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      fail_usage("--set {}: write KEY=VALUE or NAME.KEY=VALUE", text);
    std::string key = text.substr(0, equals);
    const Method* method = chosen.front();
    if (const auto dot = key.find('.'); dot != std::string::npos) {
      method = &find_method(key.substr(0, dot));
      key.erase(0, dot + 1);
      if (std::find(chosen.begin(), chosen.end(), method) == chosen.end()) {
        if (options.set_from_file) continue;  // one file may hold the parameters of many methods
        fail_usage("--set {}: {} is not among the chosen methods", text, method->name);
      }
    } else if (chosen.size() > 1) {
      fail_usage("--set {}: with several methods say which one, as in {}.{}", text, method->name, text);
    }
    for (const Setting& other : found) {
      if (other.method == method && other.key == key) fail_usage("--set {}: {} is set twice", text, key);
    }
    found.push_back({method, key, text.substr(equals + 1)});
  }
  return found;
}

/// The values of a direct flag as text: ranges of numbers are spelt out, words are split at commas.
std::vector<std::string> flag_values(const ParamSpec& spec, const std::string& flag,
                                     const std::string& text) {
  if (spec.kind == ParamSpec::Kind::choice) return split_list(text, flag);
  std::vector<std::string> values;
  for (const double value : parse_list(text, flag)) values.push_back(format_number(value));
  return values;
}

}  // namespace

void add_method(CLI::App& app, MethodOptions& options, const std::vector<std::string>& argv) {
  options.set_from_file =
      std::none_of(argv.begin(), argv.end(), [](const auto& word) { return word.starts_with("--set"); });
  app.add_option_function<std::string>(
         "--method",
         [&options](const std::string& names) {
           options.names = names;
           options.named = true;
         },
         "Methods, a comma list or all (see --list-methods)")
      ->type_name("NAME")
      ->default_str(options.names);
  app.add_option("--set", options.set, "Set a parameter; NAME.KEY=VALUE with several methods; repeatable")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false)
      ->group("Method");
  for (const std::string name : direct_flags) {
    app.add_option("--" + name, options.direct[name], meanings(name))->type_name("VALUE")->group("Method");
  }
}

std::vector<MethodRun> resolve_methods(const MethodOptions& options) {
  const std::vector<const Method*> chosen = chosen_methods(options.names);
  const std::vector<Setting> sets = settings(options, chosen);
  for (const auto& [name, text] : options.direct) {
    if (text.empty()) continue;
    const bool known = std::any_of(chosen.begin(), chosen.end(),
                                   [&](const Method* m) { return spec_of(*m, name) != nullptr; });
    if (!known)
      fail_usage("--{}: {} has no parameter {}", name,
                 chosen.size() == 1 ? chosen[0]->name : "no chosen method", name);
    for (const Setting& setting : sets) {
      if (setting.key == name && !options.set_from_file)
        fail_usage("--{} and --set {}={} set the same parameter", name, name, setting.value);
    }
  }

  std::vector<MethodRun> runs;
  for (const Method* method : chosen) {
    std::vector<MethodRun> expanded{{method, default_params(*method)}};
    for (const Setting& setting : sets) {
      if (setting.method == method) set_param(*method, expanded[0].params, setting.key, setting.value);
    }
    for (const auto& [name, text] : options.direct) {
      const ParamSpec* spec = spec_of(*method, name);
      if (text.empty() || spec == nullptr) continue;
      std::vector<MethodRun> next;
      for (const MethodRun& run : expanded) {
        for (const std::string& value : flag_values(*spec, "--" + name, text)) {
          next.push_back(run);
          set_param(*method, next.back().params, name, value);
        }
      }
      expanded = std::move(next);
    }
    if (method->settle)
      for (MethodRun& run : expanded) method->settle(run.params);
    runs.insert(runs.end(), expanded.begin(), expanded.end());
  }
  return runs;
}

std::string region_hint(double region, const Params& params) {
  if (region <= 0.5 || !params.values().contains("step")) return {};
  const std::int64_t step = params.integer("step");
  if (step == 1) return {};
  return fmt::format("hint: every knob value keeps {:.0f} % of the pairs; try smaller groups, --step {}",
                     100 * region, region > 0.99 ? 1 : std::max<std::int64_t>(1, step / 4));
}

}  // namespace anchor::cli
