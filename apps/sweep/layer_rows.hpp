#pragma once

#include "anchor/tuning/layer_sweep.hpp"
#include "cli/dump_stream.hpp"
#include "cli/run_shell.hpp"
#include "sweep/sweep_options.hpp"

namespace anchor::sweep {

/// The rows of one layer and run.
struct RunRows {
  std::vector<ResultRow> heads;       ///< kind sweep
  std::vector<ResultRow> curves;      ///< kind curve, with --curves or --grid
  std::vector<ResultRow> row_curves;  ///< kind curve, with --row-curves
  std::vector<ResultRow> fronts;      ///< kind curve, with --allocate; for stores only
  ResultRow mean;                     ///< kind curve, scope layer
};

/// What rows that compare runs with one another depend on; 0 for a single run.
std::uint64_t identity_of(const std::vector<MethodRun>& runs);

/// One layer of a sweep: its rows by run and head before anything is computed, and what fills them. Groups
/// may be computed at the same time; means are taken in order.
class LayerRows {
 public:
  LayerRows(const SweepOptions& options, const Request& request, const DumpReader& reader,
            const Engine& engine, std::span<const GroupSelection> groups);

  /// All rows are in the resumed file.
  bool finished(const cli::RunShell& shell) const;
  /// Fills the rows of the group whose first selected head is the layer's `first`-th.
  void compute(const GroupSelection& group, std::size_t first, Engine& engine, const LoadedGroup& loaded);
  /// Adds that group to the mean curves.
  void add_to_means(std::size_t first, std::size_t count) { sweep_.add_to_means(first, count); }
  /// Fills the mean rows; after the last group.
  void finish_means();

  std::vector<RunRows> runs;

 private:
  RunRows rows_of(const MethodRun& run, const DumpReader& reader, const Engine& engine,
                  std::span<const GroupSelection> groups) const;
  void fill(RunRows& rows, std::size_t at, const HeadSweep& head, const std::string& plan_path) const;
  void mark_winner(std::size_t at);

  const SweepOptions& options_;
  const Request& request_;
  LayerSweep sweep_;
};

}  // namespace anchor::sweep
