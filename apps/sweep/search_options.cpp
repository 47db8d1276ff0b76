#include "sweep/search_options.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/base/number.hpp"

namespace anchor::sweep {

void add_search(CLI::App& app, SearchOptions& options) {
  CLI::Option* target =
      app.add_option("--target", options.target, "What a head must reach (default mass_recall=0.95)")
          ->type_name("METRIC=X");
  app.add_option("--target-recall", options.target_recall, "Short for --target mass_recall=X")
      ->type_name("X")
      ->excludes(target);
  app.add_option("--grid", options.grid, "Knob values to evaluate, such as 0:20:0.5")->type_name("LIST");
}

void add_thresholds_out(CLI::App& app, SearchOptions& options) {
  app.add_option("--thresholds-out", options.thresholds_out, "One knob value per head, for --thresholds")
      ->type_name("FILE");
}

Target target_of(const SearchOptions& options, std::initializer_list<std::string_view> known) {
  if (options.target_recall)
    return parse_target(fmt::format("mass_recall={}", *options.target_recall), "--target-recall",
                        {"mass_recall"});
  return options.target.empty() ? Target{} : parse_target(options.target, "--target", known);
}

std::vector<double> grid_of(const SearchOptions& options) {
  if (options.grid.empty()) return {};
  std::vector<double> grid = parse_list(options.grid, "--grid");
  std::sort(grid.begin(), grid.end());
  grid.erase(std::unique(grid.begin(), grid.end()), grid.end());
  return grid;
}

void check_knob(const SearchOptions& options, const MethodRun& run) {
  const Method& method = *run.method;
  if (method.knob.empty()) fail_usage("{} has no knob to sweep", method.name);
  const auto direct = options.method.direct.find(method.knob);
  bool set = direct != options.method.direct.end() && !direct->second.empty();
  for (const std::string& text : options.method.set) {
    const bool names_knob =
        text.starts_with(method.knob + "=") || text.starts_with(method.name + "." + method.knob + "=");
    set = set || (names_knob && !options.method.set_from_file);
  }
  if (set)
    fail_usage("{} is what the sweep looks for: do not set it (--grid gives the values to look at)",
               method.knob);
  if (!method.granularity && options.grid.empty()) {
    fail_usage("{} has no exact curve: give the values of {} to replay, as in --grid 0.5,0.9 or 512-8k*2",
               method.name, method.knob);
  }
  if (method.granularity) return;
  for (const double knob : grid_of(options)) {
    const std::string wrong = check_value(find_param(method, method.knob), knob);
    if (!wrong.empty())
      fail_usage("--grid {}: {}.{} {}", format_number(knob), method.name, method.knob, wrong);
  }
}

void need_exact_curve(const MethodRun& run, const char* flag) {
  if (!run.method->granularity)
    fail_usage("{} needs a method with exact curves, {} has none", flag, run.method->name);
}

void need_one_run(const std::vector<MethodRun>& runs, const char* flag) {
  if (runs.size() > 1)
    fail_usage("{} takes one method with one set of parameters, not {}", flag, runs.size());
}

}  // namespace anchor::sweep
