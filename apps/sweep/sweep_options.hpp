#pragma once

#include "anchor/tuning/head_sweep.hpp"
#include "anchor/tuning/scoped_allocation.hpp"
#include "cli/main.hpp"
#include "sweep/search_options.hpp"

namespace anchor::sweep {

/// The plain sweep, as the command line says it.
struct SweepOptions : SearchOptions {
  cli::DumpOptions dump;
  std::string curves;             ///< thin or full; empty: none are shown
  std::string allocate;           ///< layer or model; empty: every head reaches the target
  std::optional<double> floor;    ///< of an allocation: least recall of any head
  std::optional<double> budget;   ///< of an allocation: mean density instead of the target
  std::string measure = "heads";  ///< none, heads or all
  int row_curves = 0;             ///< points
};

/// The options after their texts were read.
struct Request {
  Target target;
  SweepRequest head;
  std::vector<MethodRun> runs;
  std::optional<AllocationGoal> allocate;
  bool full_curves = false;
  bool measure_joint = false;  ///< run the plans of what follows from all heads together, too

  /// The statistic of the target that an allocation has: "mean over the layer".
  std::string statistic() const;
  Target allocation_target() const;
};

Request request_of(const SweepOptions& options);

/// `anchor-sweep D.h5 ...`: the tool without a subcommand.
void setup_sweep(CLI::App& app, SweepOptions& options);

}  // namespace anchor::sweep
