#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/base/number.hpp"
#include "sweep/sweep.hpp"

namespace anchor::sweep {
namespace {

Target target_of(const Options& options) {
  if (!options.target.empty() && options.target_recall)
    fail_usage("--target and --target-recall say the same thing: give one");
  if (options.target_recall)
    return parse_target(fmt::format("mass_recall={}", *options.target_recall), "--target-recall",
                        {"mass_recall"});
  if (options.target.empty()) return {};
  if (options.fit.empty() || options.allocate.empty())
    return parse_target(options.target, "--target", {"mass_recall"});  // what curves know
  Target target = parse_target(options.target, "--target", {"mass_recall", "out_rel_l2"});
  if (target.metric == "out_rel_l2") target.statistic = "mean over the " + options.allocate;
  return target;
}

/// Every chosen method must have a knob that nothing else sets, and a way to its curve.
void check_run(const Options& options, const MethodRun& run) {
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
  if (!method.granularity && !options.allocate.empty())
    fail_usage("--allocate needs a method with exact curves, {} has none", method.name);
  if (!method.granularity && options.margin != 0)
    fail_usage("--margin needs a method with exact curves, {} has none", method.name);
}

/// The rule is a method's own; the knob is where it starts.
void check_calibration(const MethodRun& run) {
  const Method& method = *run.method;
  if (!method.calibration_floor) fail_usage("--calibrate: no paper has such a rule for {}", method.name);
  if (run.params.real(method.knob) <= *method.calibration_floor)
    fail_usage("--calibrate: {} must start above {}", method.knob, format_number(*method.calibration_floor));
}

}  // namespace

void setup(CLI::App& app, Options& options) {
  app.footer(
      R"(anchor-sweep dump.h5 --step 1 --target-recall 0.95 --thresholds-out T.json
  | layer | head |   theta | density | mass_recall | status | mass_recall_p05 |
  |------:|-----:|--------:|--------:|------------:|-------:|----------------:|
  |    17 |    0 | 13.5828 |  0.7105 |      0.9504 |     ok |          0.6927 |
  |    17 |    1 |    -inf |  0.5317 |      0.9721 |     ok |          0.8672 |
  |    17 |    2 |    -inf |  0.5317 |      0.9827 |     ok |          0.9120 |
  
  To keep a mean mass_recall of 0.95:
  
  |           knob |         value | density | mass_recall | heads below |
  |---------------:|--------------:|--------:|------------:|------------:|
  | theta per head | -inf to 13.58 |  0.5913 |      0.9684 |      0 of 3 |
  |      one theta |         10.21 |  0.5420 |      0.9500 |           - |
  
  The plans at these knobs, and the heads (layer:head) that lose most:
  
  |           knob | out_rel_l2 |     worst out |  worst recall | worst p05 |
  |---------------:|-----------:|--------------:|--------------:|----------:|
  | theta per head |     0.1618 | 0.2221 (17:0) | 0.9504 (17:0) |    0.6927 |
  
  density at each head's own theta (SmolLM2-135M-Instruct layer 17 heads 3-5)
   head   0     1     2
     17   .710  .532  .532
anchor-sweep --fit prose.h5,code.h5 --check needles.h5 --step 4 --margin 1)");
  cli::add_dump(app, options.dump, false);
  cli::add_method(app, options.method, options.argv);
  app.add_option("--target", options.target, "What a head must reach (default mass_recall=0.95)")
      ->type_name("METRIC=X");
  app.add_option("--target-recall", options.target_recall, "Short for --target mass_recall=X")
      ->type_name("X");
  app.add_flag("--curves{thin}", options.curves,
               "A row with each head's curve; --curves=full: every step of it");
  app.add_option("--grid", options.grid, "Knob values to evaluate, such as 0:20:0.5")->type_name("LIST");
  app.add_option("--row-curves", options.row_curves,
                 "Run every head's plan at so many knobs: 5th percentile and minimum over rows, output error")
      ->check(CLI::Range(1, 1000))
      ->type_name("K");
  app.add_option(
         "--measure", options.measure,
         "Run the plans: at each head's own knob, at all that are found (reads the dump twice), or not")
      ->check(CLI::IsMember({"heads", "all", "none"}))
      ->capture_default_str()
      ->type_name("WHICH");
  app.add_option("--allocate", options.allocate,
                 "Let only the mean over each layer, or the model, reach the target, with least density; "
                 "with --fit: an output error, --target out_rel_l2=X")
      ->check(CLI::IsMember({"layer", "model"}))
      ->type_name("SCOPE");
  app.add_option("--floor", options.floor, "With --allocate: mass recall that every head must keep")
      ->check(CLI::Range(0., 1.))
      ->type_name("X");
  app.add_option("--budget", options.budget, "With --allocate: the most recall within this mean density")
      ->check(CLI::Range(0., 1.))
      ->type_name("X");
  app.add_option("--thresholds-out", options.thresholds_out, "One knob value per head, for --thresholds")
      ->type_name("FILE");
  app.add_option("--fit", options.fit, "Fit the knob of every head on these dumps together")
      ->type_name("DUMP,...");
  app.add_option("--check", options.check, "With --fit: what the fitted knobs reach on these dumps")
      ->type_name("DUMP,...");
  app.add_flag("--worst", options.worst, "With --fit: reach the target on every dump, not on their mean");
  app.add_flag("--matrix", options.matrix, "With --fit: fit each dump alone and look at all of them");
  app.add_flag("--leave-one-out", options.leave_one_out,
               "With --fit: look at each dump with the knobs fitted on the others");
  app.add_option("--margin", options.margin, "With --fit: add this to every fitted knob (its own units)")
      ->type_name("X");
  app.add_option(
         "--max-error", options.max_error,
         "With --fit --worst: keep more where a head's output differs more (relative L2) on a fitted dump")
      ->check(CLI::PositiveNumber)
      ->type_name("X");
  app.add_option(
         "--choose", options.choose,
         "With --fit: choose this parameter head by head, for least density; @X: as if it kept X more; "
         "repeatable")
      ->type_name("NAME=A,B@X")
      ->allow_extra_args(false);
  app.add_option(
         "--calibrate", options.calibrate,
         "SALE's published rule (arXiv 2505.24179): halve each head's theta_h from 0.008 on while the "
         "L1 error of its output is X or more per row; 1e-4 or less is dense. One dump, or those of "
         "--fit as prompts one after the other. Its Llama recipe has 0.4, the flag's default was 1")
      ->check(CLI::NonNegativeNumber)
      ->type_name("X");
  cli::add_output(app, options.common);
  cli::add_device(app, options.common);
  cli::add_common(app, options.common);
}

namespace {

/// Flags that make no sense together.
void check_flags(const Options& options, std::size_t runs) {
  if (!options.curves.empty() && options.curves != "thin" && options.curves != "full")
    fail_usage("--curves={}: write --curves or --curves=full", options.curves);
  if (!options.thresholds_out.empty() && runs > 1)
    fail_usage("--thresholds-out holds one method with one set of parameters, not {}", runs);
  if (options.allocate.empty() && (options.floor || options.budget))
    fail_usage("--floor and --budget need --allocate layer or --allocate model");
  const bool several = options.matrix || options.leave_one_out;
  const bool fits = !options.check.empty() || options.margin != 0 || options.worst || several ||
                    !options.choose.empty() || options.max_error;
  if (options.calibrate &&
      (fits || !options.target.empty() || options.target_recall || !options.curves.empty() ||
       options.row_curves > 0 || !options.grid.empty() || !options.allocate.empty())) {
    fail_usage("--calibrate goes by its own rule: no target, curves, grid, allocation or check with it");
  }
  if (options.calibrate && runs > 1) fail_usage("--calibrate takes one set of parameters, not {}", runs);
  if (options.fit.empty()) {
    if (fits) {
      fail_usage(
          "--check, --margin, --worst, --choose, --max-error, --matrix and --leave-one-out need --fit");
    }
    if (options.dump.path.empty())
      fail_usage("which dump? anchor-sweep DUMP, or --fit A.h5,B.h5 --check C.h5");
    return;
  }
  if (!options.dump.path.empty())
    fail_usage("{} and --fit: with --fit the dumps are those of --fit and --check", options.dump.path);
  if (!options.curves.empty() || options.row_curves > 0)
    fail_usage("--curves and --row-curves show the curves of one dump, not of --fit");
  if (!options.allocate.empty()) {
    if (!options.target.starts_with("out_rel_l2="))
      fail_usage("--fit --allocate allocates output error: it needs --target out_rel_l2=X");
    if (several || options.max_error || options.margin != 0 || options.floor || options.budget ||
        options.measure == "none")
      fail_usage(
          "--fit --allocate goes with --check, --choose and --worst, and runs its plans: no --max-error, "
          "--margin, --floor, --budget, --matrix, --leave-one-out or --measure none");
  }
  if (runs > 1) fail_usage("--fit fits one method with one set of parameters, not {}", runs);
  if (options.max_error && !options.worst)
    fail_usage("--max-error bounds the error on every fitted dump: it needs --worst");
  if (options.matrix && options.leave_one_out) fail_usage("--matrix and --leave-one-out: choose one");
  if (several && !options.thresholds_out.empty())
    fail_usage("--thresholds-out holds one fit, not those of --matrix or --leave-one-out");
}

}  // namespace

int run(const Options& options) {
  Request request{target_of(options), {}, cli::resolve_methods(options.method)};
  SweepRequest& head = request.head;
  head.target_recall = request.target.value;
  if (!options.grid.empty()) head.grid = parse_list(options.grid, "--grid");
  std::sort(head.grid.begin(), head.grid.end());
  head.grid.erase(std::unique(head.grid.begin(), head.grid.end()), head.grid.end());
  head.measure = options.measure != "none";
  head.row_curve_points = options.row_curves;
  if (!options.allocate.empty()) head.floor = options.floor.value_or(0);
  using Shown = SweepRequest::Shown;
  if (!options.curves.empty()) head.shown = options.curves == "full" ? Shown::full : Shown::thin;
  if (!head.grid.empty()) head.shown = Shown::grid;
  for (const MethodRun& run : request.runs)
    options.calibrate ? check_calibration(run) : check_run(options, run);
  check_flags(options, request.runs.size());
  if (options.calibrate) return run_calibration(options, request);
  return options.fit.empty() ? run_sweep(options, request) : run_fit(options, request);
}

}  // namespace anchor::sweep
