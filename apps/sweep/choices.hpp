#pragma once

#include "anchor/tuning/allocation.hpp"
#include "cli/dump_stream.hpp"
#include "cli/run_shell.hpp"
#include "sweep/findings.hpp"

namespace anchor::sweep {

/// A choice of every head's knob that follows from all heads together: one knob for all, or an allocation.
struct JointChoice {
  std::size_t run = 0;
  std::string kind;  ///< "global" or "allocation": the rows' field `choice`
  Choice choice;
};

/// An allocation of one scope (a layer, or all heads).
struct AllocatedScope {
  std::optional<int> layer;
  Allocation allocation;
  double heads = 0;
  double worst_recall = 0;
};

/// Allocates a run's heads over the model or layer by layer; fills choice.heads from the fronts.
std::vector<AllocatedScope> allocate(const Options& options, const Request& request, const Findings& found,
                                     Choice& choice);

/// The rows of heads under joint choices.
class ChoiceRows {
 public:
  ChoiceRows(const Options& options, const Request& request, const DumpReader& reader,
             const DumpStream& stream, cli::RunShell& shell)
      : options_(options), request_(request), reader_(reader), stream_(stream), shell_(shell) {}

  /// Allocations, as the curves promise them.
  void print(const std::vector<GroupSelection>& groups, const std::vector<JointChoice>& choices);
  /// All choices, as their plans turn out: reads the dump once more. What was measured is put into them.
  void measure(const std::vector<GroupSelection>& groups, std::vector<JointChoice>& choices);

 private:
  std::vector<ResultRow> templates(const GroupSelection& group, std::size_t first,
                                   const std::vector<JointChoice>& choices) const;
  void compute(const GroupSelection& group, const std::vector<JointChoice>& choices, Engine& engine,
               const LoadedGroup& loaded, std::vector<ResultRow>& rows) const;
  /// Emits the rows of a group.
  void finish(std::size_t first, const std::vector<ResultRow>& rows, std::vector<JointChoice>& choices);

  const Options& options_;
  const Request& request_;
  const DumpReader& reader_;
  const DumpStream& stream_;
  cli::RunShell& shell_;
};

}  // namespace anchor::sweep
