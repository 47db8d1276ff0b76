#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "anchor/replay/dump_stream.hpp"
#include "anchor/tuning/fit_set.hpp"
#include "anchor/tuning/head_fit.hpp"
#include "anchor/tuning/scoped_allocation.hpp"

namespace anchor {

/// What a fit over several texts is asked for. The texts are dumps of one model.
struct FitRequest {
  MethodRun run;
  std::vector<ParamChoice> choices = {};  ///< parameters to choose head by head
  double target_recall = 0.95;            ///< mass recall that every head has to reach
  FitRule rule = {};
  /// With rule.on_each_text: a head's target on a fitted text is higher where its output would otherwise
  /// differ more than this (relative L2) from dense attention.
  std::optional<double> max_error = {};
  std::vector<double> grid = {};  ///< ascending knob values; the only ones for methods without exact curves

  struct ErrorGoal {
    AllocationScope scope = AllocationScope::layer;
    double out_rel_l2 = 0.05;
  };
  /// Instead of a target for every head: the mean output error of a scope's heads, at the least density.
  /// Heads that are right cheaply make up for those that are not.
  std::optional<ErrorGoal> allocate = {};
  /// Run the plans at the end: what they do to rows and outputs is nothing that curves know. An allocation
  /// always does.
  bool measure = true;
};

/// What one head is given by one fit set, and what it keeps on the texts that the set looks at.
struct FittedHead {
  HeadSetting setting;
  ScalarMap params;                  ///< that distinguish its variant
  std::vector<HeadAt> kept;          ///< by checked text, by the curves; empty after an allocation
  std::vector<HeadReplay> measured;  ///< by checked text, by the plans; empty if they were not run

  /// Density and recall by the curve where there is one (sums of floats in another order may miss the
  /// target), the rest by the plan.
  HeadAt at(std::size_t checked) const;
};

/// The finished heads of one KV group.
struct FittedGroup {
  std::size_t index = 0;         ///< among the selected groups
  std::string error;             ///< why there is no result
  std::vector<FittedHead> fits;  ///< by head, then by set; empty if the group failed or was not wanted
};

/// Fits every head's knob on several texts and looks what it keeps on others. Streams the KV groups of all
/// dumps, a group at a time on all of them.
class Fit {
 public:
  /// The dumps are the texts that the sets name; the stream and the readers must outlive the fit. Usage
  /// errors: choices that the method does not have (head_variants()), `max_error` without
  /// rule.on_each_text, an allocation over several sets.
  Fit(const DumpStream& stream, std::vector<const DumpReader*> dumps, std::vector<GroupSelection> groups,
      std::vector<FitSet> sets, FitRequest request);

  struct Steps {
    std::function<bool(std::size_t)> wanted;  ///< by index, in order; false: known already. Empty: all are
    std::function<void(const FittedGroup&)> finish;  ///< in order, on the calling thread
  };
  void run(const Steps& steps) const;

  const std::vector<HeadVariant>& variants() const { return variants_; }
  /// A group's heads with the knobs of one set: what they keep is the mean over the set's fitted texts, as
  /// far as it looks at them. For make_thresholds().
  std::vector<ChosenHead> chosen(const FittedGroup& group, std::size_t set = 0) const;

 private:
  struct HeadWork;
  struct GroupWork;
  class Batch;

  const DumpStream& stream_;
  std::vector<const DumpReader*> dumps_;
  std::vector<GroupSelection> groups_;
  std::vector<FitSet> sets_;
  FitRequest request_;
  std::vector<HeadVariant> variants_;
};

}  // namespace anchor
