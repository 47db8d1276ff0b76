#pragma once

#include "cli/dump_stream.hpp"
#include "cli/run_shell.hpp"
#include "sweep/findings.hpp"

namespace anchor::sweep {

/// A knob of every head that follows from all heads together: one knob for all, or an allocation.
struct JointAssignment {
  std::size_t run = 0;
  std::string kind;  ///< "global" or "allocation": the rows' field `choice`
  Assignment assignment;
};

/// The rows of heads under joint assignments.
class ChoiceRows {
 public:
  ChoiceRows(const SweepOptions& options, const Request& request, const DumpReader& reader,
             const DumpStream& stream, cli::RunShell& shell)
      : options_(options), request_(request), reader_(reader), stream_(stream), shell_(shell) {}

  /// Allocations, as the curves promise them.
  void print(const std::vector<GroupSelection>& groups, const std::vector<JointAssignment>& joint);
  /// All assignments, as their plans turn out: reads the dump once more. What was measured is put into them.
  void measure(const std::vector<GroupSelection>& groups, std::vector<JointAssignment>& joint);

 private:
  std::vector<ResultRow> templates(const GroupSelection& group, std::size_t first,
                                   const std::vector<JointAssignment>& joint) const;
  void compute(const GroupSelection& group, const std::vector<JointAssignment>& joint, Engine& engine,
               const LoadedGroup& loaded, std::vector<ResultRow>& rows) const;
  /// Emits the rows of a group.
  void finish(std::size_t first, const std::vector<ResultRow>& rows, std::vector<JointAssignment>& joint);

  const SweepOptions& options_;
  const Request& request_;
  const DumpReader& reader_;
  const DumpStream& stream_;
  cli::RunShell& shell_;
};

}  // namespace anchor::sweep
