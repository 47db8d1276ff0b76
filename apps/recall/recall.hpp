#pragma once

#include <CLI/CLI.hpp>

#include "cli/common_options.hpp"
#include "cli/dump_options.hpp"
#include "cli/main.hpp"
#include "cli/method_options.hpp"
#include "recall/context.hpp"

namespace anchor::recall {

struct Options {
  cli::CommonOptions common;
  cli::DumpOptions dump;
  cli::MethodOptions method;
  std::string thresholds;              ///< file instead of a knob
  std::string metric = "mass_recall";  ///< what heatmaps show
  std::string rows;                    ///< query rows that the metrics speak of; empty = all
  bool stats = false;                  ///< sparsity statistics in every row
  bool heatmap = false;                ///< in the terminal (on by default on one)
  std::string svg;                     ///< file of the layer x head heatmap, or of the head map
  std::string head_map;                ///< L:H
  std::string pareto;                  ///< file of the recall-density curves; empty = rows of single runs
  std::string measure = "all";         ///< with --pareto: none or all
  ContextOptions context;
  std::vector<std::string> argv;
};

void setup(CLI::App& app, Options& options);

/// Replays methods on every selected head and prints a row each; returns the exit code.
int run(const Options& options);

}  // namespace anchor::recall
