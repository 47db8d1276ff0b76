#include "sweep/sweep_options.hpp"

#include "anchor/base/error.hpp"
#include "cli/number.hpp"

namespace anchor::sweep {
namespace {

constexpr const char* examples =
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
anchor-sweep dump.h5 --step 4 --allocate model --floor 0.9 -o sweep.jsonl)";

/// Flags of the past that are commands now: one line says which.
void add_renamed(CLI::App& app) {
  const auto words = [&app](const char* option) {
    const std::vector<std::string> given = app.get_option(option)->results();
    return given.empty() ? std::string() : given.front();
  };
  const auto complain = [words](const std::string&) {
    const std::string fitted = words("--fit"), error = words("--calibrate"), dump = words("DUMP");
    if (error.empty()) fail_usage("--fit is a command now: anchor-sweep fit {}", fitted);
    fail_usage("--calibrate is a command now: anchor-sweep calibrate {} --error {}",
               !fitted.empty() ? fitted
               : !dump.empty() ? dump
                               : "DUMP",
               error);
  };
  for (const char* flag : {"--fit", "--calibrate"})
    app.add_option_function<std::string>(flag, complain)->group("")->configurable(false);
}

}  // namespace

std::string Request::statistic() const { return fmt::format("mean over the {}", name_of(allocate->scope)); }

Target Request::allocation_target() const {
  return allocate->density ? Target{"density", statistic(), *allocate->density}
                           : Target{"mass_recall", statistic(), target.value};
}

void setup_sweep(CLI::App& app, SweepOptions& options) {
  app.footer(examples);
  cli::add_dump(app, options.dump, false);
  cli::add_method(app, options.method, options.argv);
  add_search(app, options);
  app.add_flag("--curves{thin}", options.curves,
               "A row with each head's curve; --curves=full: every step of it");
  app.add_option("--row-curves", options.row_curves,
                 "Run every head's plan at so many knobs: 5th percentile and minimum over rows, output error")
      ->transform(cli::whole_number(1, 1000))
      ->type_name("K");
  app.add_option(
         "--measure", options.measure,
         "Run the plans: at each head's own knob, at all that are found (reads the dump twice), or not")
      ->check(CLI::IsMember({"heads", "all", "none"}))
      ->capture_default_str()
      ->type_name("WHICH");
  CLI::Option* allocate =
      app.add_option("--allocate", options.allocate,
                     "Let only the mean over each layer, or the model, reach the target, with least density")
          ->check(CLI::IsMember({"layer", "model"}))
          ->type_name("SCOPE");
  app.add_option("--floor", options.floor, "With --allocate: mass recall that every head must keep")
      ->check(cli::real_number(0, 1))
      ->needs(allocate)
      ->type_name("X");
  app.add_option("--budget", options.budget, "With --allocate: the most recall within this mean density")
      ->check(cli::real_number(0, 1))
      ->needs(allocate)
      ->type_name("X");
  add_thresholds_out(app, options);
  add_renamed(app);
  cli::add_output(app, options.common);
  cli::add_device(app, options.common);
  cli::add_common(app, options.common);
}

Request request_of(const SweepOptions& options) {
  if (options.dump.path.empty())
    fail_usage("which dump? anchor-sweep DUMP; for several texts anchor-sweep fit A.h5,B.h5");
  if (!options.curves.empty() && options.curves != "thin" && options.curves != "full")
    fail_usage("--curves={}: write --curves or --curves=full", options.curves);
  Request request{.target = target_of(options, {"mass_recall"}),  // what curves know
                  .head = {},
                  .runs = cli::resolve_methods(options.method),
                  .allocate = {},
                  .full_curves = options.curves == "full",
                  .measure_joint = options.measure == "all"};
  for (MethodRun& run : request.runs) {
    run = with_own_knobs(std::move(run));
    check_knob(options, run);
    if (!options.allocate.empty()) need_exact_curve(run, "--allocate");
  }
  if (!options.thresholds_out.empty()) need_one_run(request.runs, "--thresholds-out");
  if (!options.allocate.empty()) {
    request.allocate = {
        .scope = options.allocate == "layer" ? AllocationScope::layer : AllocationScope::model,
        .mass_recall = request.target.value,
        .density = options.budget};
    request.head.floor = options.floor.value_or(0);
  }
  request.head.target_recall = request.target.value;
  request.head.grid = grid_of(options);
  request.head.measure = options.measure != "none";
  request.head.row_curve_points = options.row_curves;
  using Shown = SweepRequest::Shown;
  if (!options.curves.empty()) request.head.shown = request.full_curves ? Shown::full : Shown::thin;
  if (!request.head.grid.empty()) request.head.shown = Shown::grid;
  return request;
}

}  // namespace anchor::sweep
