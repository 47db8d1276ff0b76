#pragma once

#include <CLI/CLI.hpp>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "cli/common_options.hpp"
#include "cli/dump_options.hpp"
#include "cli/method_options.hpp"

namespace anchor::sweep {

/// What every search for the heads' knobs is told, as the command line says it.
struct SearchOptions {
  cli::CommonOptions common;
  cli::MethodOptions method;
  std::string target;                   ///< METRIC=X
  std::optional<double> target_recall;  ///< short for mass_recall=X
  std::string grid;                     ///< knob values
  std::string thresholds_out;
  std::vector<std::string> argv;
};

/// --target, --target-recall, --grid.
void add_search(CLI::App& app, SearchOptions& options);
/// --thresholds-out.
void add_thresholds_out(CLI::App& app, SearchOptions& options);

/// The target that was asked for, mass_recall=0.95 if none was. A usage error if its metric is not known.
Target target_of(const SearchOptions& options, std::initializer_list<std::string_view> known);

/// The values of --grid, ascending, each once.
std::vector<double> grid_of(const SearchOptions& options);

/// A usage error unless the method has a knob that nothing else sets, and a way to its curve.
void check_knob(const SearchOptions& options, const MethodRun& run);
/// A usage error for `flag` if the method has no exact curve.
void need_exact_curve(const MethodRun& run, const char* flag);
/// A usage error if there are several runs: `flag` takes one method with one set of parameters.
void need_one_run(const std::vector<MethodRun>& runs, const char* flag);

}  // namespace anchor::sweep
