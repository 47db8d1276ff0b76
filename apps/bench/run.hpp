#pragma once

#include "bench/data_options.hpp"
#include "cli/common_options.hpp"
#include "cli/method_options.hpp"

namespace anchor::bench {

struct Options {
  cli::CommonOptions common;
  cli::MethodOptions method;
  DataOptions data;
  std::string baselines;       ///< empty: cudnn, or dense on the CPU
  std::string thresholds;      ///< file instead of a knob
  std::string stripe_density;  ///< densities; empty = knobs as given
  std::string match;           ///< METRIC=VALUE that every method's knob has to meet; empty = knobs as given
  bool warm = false;
  double time_limit = 10;  ///< seconds per contender
  double interval = 0.01;
  int sampled_rows = 64;
  std::vector<std::string> argv;
};

void setup(CLI::App& app, Options& options);

/// Checks, then times every method and baseline on every layer and length; returns the exit code.
int run(const Options& options, const CLI::App& app);

}  // namespace anchor::bench
