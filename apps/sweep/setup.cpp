#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"
#include "anchor/experiment/grid.hpp"
#include "sweep/sweep.hpp"

namespace anchor::sweep {
namespace {

Target parse_target(const Options& options) {
  Target target;
  if (!options.target.empty() && options.target_recall)
    fail_usage("--target and --target-recall say the same thing: give one");
  if (options.target_recall) target.value = *options.target_recall;
  if (!options.target.empty()) {
    const auto equals = options.target.find('=');
    const auto value =
        equals == std::string::npos ? std::nullopt : parse_number(options.target.substr(equals + 1));
    if (!value) fail_usage("--target {}: write METRIC=VALUE, such as mass_recall=0.95", options.target);
    if (options.target.substr(0, equals) != "mass_recall") {
      fail_usage("--target {}: curves know one metric, mass_recall", options.target);
    }
    target.value = *value;
  }
  if (!(target.value > 0 && target.value < 1)) {
    fail_usage("target mass_recall={} must lie between 0 and 1 (all of it is what dense attention keeps)",
               format_number(target.value));
  }
  return target;
}

/// Every chosen method must have a knob that nothing else sets, and a way to its curve.
void check_run(const Options& options, const cli::MethodRun& run) {
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
  if (!method.granularity && options.margin != 0)
    fail_usage("--margin needs a method with exact curves, {} has none", method.name);
}

}  // namespace

void setup(CLI::App& app, Options& options) {
  app.footer(
      "anchor-sweep dump.h5 --step 4 --target mass_recall=0.95 --thresholds-out thresholds.json\n"
      "anchor-sweep --fit prose.h5,code.h5 --check needles.h5 --step 4 --margin 1");
  cli::add_dump(app, options.dump, false);
  cli::add_method(app, options.method, options.argv);
  app.add_option("--target", options.target, "What a head must reach (default mass_recall=0.95)")
      ->type_name("METRIC=X");
  app.add_option("--target-recall", options.target_recall, "Short for --target mass_recall=X")
      ->type_name("X");
  app.add_flag("--curves{thin}", options.curves,
               "A row with each head's curve; --curves=full: every step of it");
  app.add_option("--grid", options.grid, "Knob values to evaluate, such as 0:20:0.5")->type_name("LIST");
  app.add_option("--thresholds-out", options.thresholds_out, "One knob value per head, for --thresholds")
      ->type_name("FILE");
  app.add_option("--fit", options.fit, "Fit the knob of every head on these dumps together")
      ->type_name("DUMP,...");
  app.add_option("--check", options.check, "With --fit: what the fitted knobs reach on these dumps")
      ->type_name("DUMP,...");
  app.add_flag("--worst", options.worst, "With --fit: reach the target on every dump, not on their mean");
  app.add_option("--margin", options.margin, "With --fit: add this to every fitted knob (its own units)")
      ->type_name("X");
  cli::add_output(app, options.common);
  cli::add_device(app, options.common);
  cli::add_common(app, options.common);
}

ScalarMap fixed_params(const cli::MethodRun& run) {
  ScalarMap params = cli::row_params(run.params);
  params.erase(run.method->knob);
  return params;
}

int run(const Options& options) {
  Request request{parse_target(options), {}, cli::resolve_methods(options.method)};
  if (!options.grid.empty()) request.grid = parse_list(options.grid, "--grid");
  std::sort(request.grid.begin(), request.grid.end());
  request.grid.erase(std::unique(request.grid.begin(), request.grid.end()), request.grid.end());
  for (const cli::MethodRun& run : request.runs) check_run(options, run);
  if (!options.curves.empty() && options.curves != "thin" && options.curves != "full") {
    fail_usage("--curves={}: write --curves or --curves=full", options.curves);
  }
  if (!options.thresholds_out.empty() && request.runs.size() > 1) {
    fail_usage("--thresholds-out holds one method with one set of parameters, not {}", request.runs.size());
  }
  if (options.fit.empty()) {
    if (!options.check.empty() || options.margin != 0 || options.worst)
      fail_usage("--check, --margin and --worst need --fit");
    if (options.dump.path.empty())
      fail_usage("which dump? anchor-sweep DUMP, or --fit A.h5,B.h5 --check C.h5");
    return run_sweep(options, request);
  }
  if (!options.dump.path.empty())
    fail_usage("{} and --fit: with --fit the dumps are those of --fit and --check", options.dump.path);
  if (!options.curves.empty()) fail_usage("--curves shows the curves of one dump, not of --fit");
  if (request.runs.size() > 1)
    fail_usage("--fit fits one method with one set of parameters, not {}", request.runs.size());
  return run_fit(options, request);
}

}  // namespace anchor::sweep
