#pragma once

#include "anchor/tuning/global_curve.hpp"
#include "cli/dump_stream.hpp"
#include "cli/run_shell.hpp"
#include "sweep/sweep.hpp"

namespace anchor::sweep {

/// The rows of one layer and run.
struct LayerRows {
  std::vector<ResultRow> heads;       ///< kind sweep
  std::vector<ResultRow> curves;      ///< kind curve, with --curves or --grid
  std::vector<ResultRow> row_curves;  ///< kind curve, with --row-curves
  std::vector<ResultRow> fronts;      ///< kind curve, with --allocate; for stores only
  ResultRow mean;                     ///< kind curve, scope layer
};

/// One layer of a sweep: its rows by run and head before anything is computed, and what fills them. Groups
/// may be computed at the same time; means are taken in order.
class LayerSweep {
 public:
  LayerSweep(const Options& options, const Request& request, const DumpReader& reader, const Engine& engine,
             std::span<const GroupSelection> groups);

  /// All rows are in the resumed file.
  bool finished(const cli::RunShell& shell) const;
  /// Fills the rows of the group whose first selected head is the layer's `first`-th.
  void compute(const GroupSelection& group, std::size_t first, Engine& engine, const LoadedGroup& loaded);
  /// Adds that group to the mean curves.
  void add_to_means(std::size_t first, std::size_t count);
  /// Fills the mean rows; after the last group.
  void finish_means();

  std::vector<LayerRows> runs;

 private:
  ResultRow template_row(const DumpReader& reader, const Engine& engine, int layer, int head,
                         const MethodRun& run, const char* kind) const;
  void fill(LayerRows& rows, std::size_t at, HeadSweep& head, const std::string& plan_path);
  void mark_winner(std::size_t at);

  const Options& options_;
  const Request& request_;
  std::vector<std::vector<KnobCurve>> steps_;        ///< by run and head; exact ones until they are added
  std::vector<std::unique_ptr<GlobalCurve>> means_;  ///< by run
};

/// A row of a dump without a head: scope layer.
ResultRow layer_row(const DumpReader& reader, const Engine& engine, const Options& options,
                    const MethodRun& run, int layer);

}  // namespace anchor::sweep
