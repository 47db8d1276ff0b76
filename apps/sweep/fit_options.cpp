#include "sweep/fit_options.hpp"

#include "anchor/base/error.hpp"
#include "cli/number.hpp"
#include "sweep/fit.hpp"

namespace anchor::sweep {
namespace {

constexpr const char* examples =
    R"(anchor-sweep fit prose.h5,code.h5 --check needles.h5 --step 4 --margin 1
anchor-sweep fit prose.h5,code.h5 --method stripes --worst --max-error 0.06)";

/// How several texts make one knob, and how it is looked at.
void add_rule(CLI::App& app, FitOptions& options) {
  app.add_option("--check", options.check, "What the fitted knobs reach on these dumps")
      ->type_name("DUMP,...");
  CLI::Option* worst =
      app.add_flag("--worst", options.worst, "Reach the target on every dump, not on their mean");
  CLI::Option* matrix =
      app.add_flag("--matrix", options.matrix, "Fit each dump alone and look at all of them");
  CLI::Option* others = app.add_flag("--leave-one-out", options.leave_one_out,
                                     "Look at each dump with the knobs fitted on the others")
                            ->excludes(matrix);
  CLI::Option* margin =
      app.add_option("--margin", options.margin, "Add this to every fitted knob (its own units)")
          ->check(cli::real_number(-1e300, 1e300))
          ->type_name("X");
  CLI::Option* bound =
      app.add_option(
             "--max-error", options.max_error,
             "With --worst: keep more where a head's output differs more (relative L2) on a fitted dump")
          ->check(cli::positive_number())
          ->needs(worst)
          ->type_name("X");
  app.add_option("--choose", options.choose,
                 "Choose this parameter head by head, for least density; @X: as if it kept X more; "
                 "repeatable")
      ->type_name("NAME=A,B@X")
      ->allow_extra_args(false);
  CLI::Option* allocate =
      app.add_option("--allocate", options.allocate,
                     "Let only the mean over each layer, or the model, meet an output error, with least "
                     "density: --target out_rel_l2=X")
          ->check(CLI::IsMember({"layer", "model"}))
          ->type_name("SCOPE");
  for (CLI::Option* other : {margin, bound, matrix, others}) allocate->excludes(other);
  app.add_option("--measure", options.measure, "Run the plans at the fitted knobs, or not")
      ->check(CLI::IsMember({"heads", "none"}))
      ->capture_default_str()
      ->type_name("WHICH");
  add_thresholds_out(app, options);
  for (CLI::Option* several : {matrix, others})
    app.get_option("--thresholds-out")->excludes(several);  // the file holds one fit
}

Target fit_target(const FitOptions& options) {
  if (options.allocate.empty()) return target_of(options, {"mass_recall"});
  if (!options.target.starts_with("out_rel_l2="))
    fail_usage("--allocate allocates output error: it needs --target out_rel_l2=X");
  Target target = target_of(options, {"out_rel_l2"});
  target.statistic = "mean over the " + options.allocate;
  return target;
}

}  // namespace

FitSpec fit_spec(const FitOptions& options) {
  const std::vector<MethodRun> runs = cli::resolve_methods(options.method);
  need_one_run(runs, "fit");
  check_knob(options, runs[0]);
  FitSpec spec{fit_target(options), {.run = with_own_knobs(runs[0])}};
  FitRequest& request = spec.request;
  for (const std::string& text : options.choose)
    request.choices.push_back(parse_param_choice(text, "--choose"));
  request.rule = {.on_each_text = options.worst, .margin = options.margin};
  request.max_error = options.max_error;
  request.grid = grid_of(options);
  request.measure = options.measure != "none";
  if (options.margin != 0) need_exact_curve(runs[0], "--margin");
  if (options.allocate.empty()) {
    request.target_recall = spec.target.value;
    return spec;
  }
  if (!request.measure) fail_usage("--allocate runs its plans: no --measure none with it");
  request.allocate = {options.allocate == "layer" ? AllocationScope::layer : AllocationScope::model,
                      spec.target.value};
  return spec;
}

void setup_fit(CLI::App& app, cli::Command& command, const std::vector<std::string>& argv) {
  const auto options = std::make_shared<FitOptions>();
  options->argv = argv;
  CLI::App* fit = app.add_subcommand("fit", "Fit every head's knob on several dumps, check it on others");
  fit->footer(examples);
  cli::add_dumps(*fit, options->dumps, "Dumps of one model to fit on together: A.h5,B.h5 or A.h5 B.h5");
  cli::add_method(*fit, options->method, argv);
  add_search(*fit, *options);
  add_rule(*fit, *options);
  cli::add_output(*fit, options->common);
  cli::add_device(*fit, options->common);
  cli::add_common(*fit, options->common);
  fit->callback([options, &command] { command = [options] { return run_fit(*options); }; });
}

}  // namespace anchor::sweep
