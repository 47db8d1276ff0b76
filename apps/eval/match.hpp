#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "anchor/eval/match_density.hpp"
#include "anchor/rows/target.hpp"
#include "cli/common_options.hpp"

namespace anchor::eval {

/// What the knobs of all methods are found for, as the command line says it.
struct MatchOptions {
  std::string target;  ///< METRIC=X; empty: nothing is searched
  std::string on;      ///< with out_rel_l2: the dump
  int questions = 16;  ///< with density: how many tasks are read for it
};

/// --match, --match-on, --match-tasks.
void add_match(CLI::App& app, MatchOptions& options);

/// The target, or nothing. Usage errors: another metric; an error without a dump, or with heads' own knobs
/// (which are fitted for it: anchor-sweep fit); a dump that nothing reads.
std::optional<Target> match_target(const MatchOptions& options, bool own_knobs);

/// The tasks that a density is matched on: so many of `count`, evenly spread over them.
std::vector<std::size_t> match_sample(std::size_t count, int questions);

/// The knob of all heads with which the mean output error over the heads of a dump is at most the target, at
/// the least density (tuning/method_front.hpp). The dump's text should be another than the tasks. A data
/// error if no knob reaches it.
MatchedRun match_error(const MethodRun& run, const Target& target, const MatchOptions& options,
                       const cli::CommonOptions& common);

}  // namespace anchor::eval
