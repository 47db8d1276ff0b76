#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "anchor/method/method_run.hpp"
#include "anchor/replay/dump_stream.hpp"
#include "anchor/replay/group_at_work.hpp"
#include "anchor/tuning/allocation.hpp"
#include "anchor/tuning/heads_at.hpp"

namespace anchor {

/// Which knobs a choice is free to set: one for all heads, one per head, or per head with a mean recall
/// allocated over them.
enum class KnobsBy : std::uint8_t { global, heads, allocation };
const char* name_of(KnobsBy by);  ///< in rows: their field `choice`

/// How one method gets from sparse to dense on all heads of a dump. The dump is read several times: first
/// explore() sees every group, then as long as plan_trials() finds something to run, run_trials().
///
/// Exact curves, where a method has them, say what recalls need; output errors come from plans that are run:
/// for each head where its error nears the targets, then in the same way with one knob for all heads. Methods
/// without curves are run on a grid that is chosen on the first group, and refined where the means over all
/// heads near the targets. What is answered was always reached by plans, so that coarse grids err on the safe
/// side.
class MethodFront {
 public:
  /// `targets`: of mass_recall first, then of out_rel_l2. `measure`: run plans of methods with exact curves,
  /// too.
  MethodFront(MethodRun run, std::vector<Target> targets, bool measure);

  void explore(GroupAtWork& group);
  bool plan_trials();
  void run_trials(GroupAtWork& group);

  /// The least density that meets a target; nothing if no knob does (where every head has a knob of its own:
  /// those that cannot meet it hold their densest). Output errors are not allocated.
  std::optional<HeadsAt> answer(KnobsBy by, std::size_t target) const;
  /// One knob for all heads, ordered by density: means over the heads.
  Curve mean_curve() const;
  /// The plans with one knob for all heads that were run, ordered by density.
  std::vector<HeadsAt> runs() const;

  /// About how many dense attentions take as long as everything that is done with a KV group.
  double cost() const;

  const MethodRun& run() const { return run_; }
  bool exact() const { return exact_; }
  bool measures() const { return measure_ || !exact_; }
  std::span<const int> layers() const { return layers_; }
  std::span<const int> heads() const { return heads_; }

  const std::string& plan_path() const { return plan_path_; }

  /// Gives the method up: `why` is a line. It takes part in no further reading of the dump.
  void fail(std::string why) { error_ = std::move(why); }
  const std::string& error() const { return error_; }  ///< empty unless it was given up

 private:
  /// What is known of one head.
  struct Head {
    Curve curve, front;          ///< of methods with exact curves: thinned, and convex_front()
    std::vector<HeadAt> needed;  ///< one per target of a recall, from the exact curve
    std::vector<HeadAt> runs;    ///< plans that were run, ordered by density
  };
  /// Plans of all heads that are to be run together.
  struct Trial {
    double place = 0;           ///< one knob for all heads: it, or its place on the method's scale
    std::vector<double> knobs;  ///< or one per head, to allocate recall for a target
    std::size_t target = 0;
    std::vector<HeadAt> heads = {};
  };

  void explore_curves(GroupAtWork& group);
  void explore_grid(GroupAtWork& group);
  std::vector<HeadAt> run_heads(GroupAtWork& group, std::span<const double> knobs);
  std::vector<HeadAt> run_place(GroupAtWork& group, double place);
  std::map<double, HeadsAt> choose_places(GroupAtWork& group);
  std::optional<double> place_for(const Target& target) const;
  std::optional<double> curve_place_for(const Target& target) const;
  std::optional<double> grid_place_for(const Target& target) const;
  std::optional<HeadsAt> one_knob(const Target& target) const;
  HeadsAt own_knobs(std::size_t target) const;
  std::optional<HeadsAt> allocated(std::size_t target) const;

  MethodRun run_;
  std::vector<Target> targets_;
  bool exact_, measure_;
  int round_ = 0;
  std::vector<int> layers_, heads_;
  std::vector<Head> found_;
  std::vector<Curve> group_means_;
  std::vector<double> group_heads_;
  std::map<double, std::vector<HeadAt>> places_;            ///< one knob for all heads; by place
  std::map<std::size_t, std::vector<HeadAt>> allocations_;  ///< by target, as they were run
  std::vector<Trial> trials_;
  std::string error_, plan_path_;
};

/// Reads a dump as often as the fronts need it. Data that a method cannot take fail its front alone; data
/// that cannot be read are thrown. The stream computes in order: a front learns from the groups before.
void read_fronts(const DumpStream& stream, std::span<const StreamItem> items, std::span<MethodFront> fronts);

}  // namespace anchor
