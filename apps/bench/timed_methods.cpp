#include "bench/timed_methods.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/lists.hpp"
#include "anchor/tuning/stripe_density.hpp"
#include "cli/threshold_options.hpp"

namespace anchor::bench {
namespace {

std::vector<TimedMethod> baselines(const Options& options, const std::string& device) {
  std::vector<TimedMethod> found;
  const std::string names = !options.baselines.empty() ? options.baselines
                            : device == "cpu"          ? "dense"
                                                       : "cudnn";
  if (names == "none") return found;
  for (const std::string& name : split_list(names, "--baseline")) {
    if (name != "cudnn" && name != "dense") fail_usage("--baseline {}: known are cudnn, dense, none", name);
    const Method* method = name == "dense" ? &find_method(name) : nullptr;
    found.push_back({.name = name, .method = method, .baseline = true});
    if (method) found.back().params = default_params(*method);
  }
  return found;
}

std::vector<double> stripe_densities(const Options& options) {
  std::vector<double> densities;
  if (!options.stripe_density.empty()) densities = parse_list(options.stripe_density, "--stripe-density");
  for (const double density : densities)
    if (!(density > 0 && density < 1)) fail_usage("--stripe-density {}: must lie between 0 and 1", density);
  return densities;
}

}  // namespace

TimingSettings timing_settings(const Options& options) {
  TimingSettings settings{.warm = options.warm,
                          .seconds = options.time_limit,
                          .relative_width = options.interval,
                          .sampled_rows = options.sampled_rows,
                          .match = {},
                          .thresholds = {},
                          .thresholds_path = options.thresholds,
                          .argv = options.argv};
  if (!options.thresholds.empty()) {
    if (!options.stripe_density.empty()) fail_usage("--thresholds and --stripe-density exclude each other");
    if (options.data.dump.path.empty()) fail_usage("--thresholds names heads of a model: give --dump D.h5");
    settings.thresholds = read_thresholds(options.thresholds);
  }
  if (!options.match.empty()) {
    if (!options.stripe_density.empty()) fail_usage("--match and --stripe-density exclude each other");
    settings.match = parse_target(options.match, "--match", {"mass_recall", "out_rel_l2"});
  }
  return settings;
}

std::vector<TimedMethod> timed_methods(const Options& options, const TimingSettings& settings,
                                       const std::string& device, const Geometry& geometry) {
  std::vector<TimedMethod> timed = baselines(options, device);
  std::vector<MethodRun> runs;
  if (settings.thresholds) {
    runs = {cli::thresholds_run(*settings.thresholds, options.thresholds, options.method)};
  } else {
    runs = cli::resolve_methods(options.method);
  }
  const std::vector<double> densities = stripe_densities(options);
  bool used = false;
  for (const MethodRun& run : runs) {
    if (run.method->rows_per_plan > 0 && options.method.names == "all") continue;
    if (run.method->rows_per_plan > 0)
      fail_usage("--method {}: lists keys row by row; it measures quality, not speed", run.method->name);
    const TimedMethod one{.name = run.method->name, .method = run.method, .params = run.params};
    if (!densities.empty() && selects_stripes(*run.method, run.params, geometry)) {
      used = true;
      for (const double density : densities) {
        timed.push_back(one);
        timed.back().stripe_density = density;
      }
    } else if (std::none_of(timed.begin(), timed.end(), [&](const TimedMethod& other) {
                 return other.baseline && other.method == run.method;
               })) {
      timed.push_back(one);
    }
  }
  if (!densities.empty() && !used)
    fail_usage("--stripe-density: no chosen method selects stripes by a threshold");
  return timed;
}

}  // namespace anchor::bench
