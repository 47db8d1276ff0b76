#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "anchor/tuning/allocation.hpp"
#include "anchor/tuning/head_at.hpp"
#include "cli/dump_options.hpp"
#include "cli/method_options.hpp"

namespace anchor::recall {

/// The selected heads of a KV group where they are computed; dense attention of it when it is first needed.
class GroupAtWork {
 public:
  GroupAtWork(Engine& engine, const Inputs& inputs, const GroupSelection& selection);
  DenseReference& dense();

  Engine& engine;
  const Inputs& inputs;
  int layer;
  std::vector<int> heads, locals;  ///< in the model, and in the group

 private:
  std::unique_ptr<DenseReference> dense_;
};

/// A way to set the knobs of all heads.
enum class Choice { global, heads, allocation };
const char* name_of(Choice choice);  ///< in rows: their field `choice`

/// All heads at their knobs, in the order of the groups.
struct Chosen {
  std::optional<double> knob;  ///< of all heads
  std::vector<HeadAt> heads;
  double gap = 0;  ///< of an allocation: what a better one could save at most, in mean density

  double mean_density() const;
  double mean_loss(const Target& target) const;
};

/// How one method gets from sparse to dense on all heads of a dump. The dump is read several times: first
/// explore() sees every group, then as long as plan_trials() finds something to run, run_trials().
///
/// Exact curves, where a method has them, say what recalls need; output errors come from plans that are run:
/// for each head where its error nears the targets, then with one knob for all heads likewise. Methods
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
  std::optional<Chosen> answer(Choice choice, std::size_t target) const;
  /// One knob for all heads, ordered by density: means over the heads.
  Curve mean_curve() const;
  /// The plans with one knob for all heads that were run, ordered by density.
  std::vector<Chosen> runs() const;

  const MethodRun& run() const { return run_; }
  bool exact() const { return exact_; }
  bool measures() const { return measure_ || !exact_; }
  std::span<const int> layers() const { return layers_; }
  std::span<const int> heads() const { return heads_; }

  std::string error, plan_path;

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
  std::vector<double> choose_places(GroupAtWork& group);
  std::optional<double> place_for(const Target& target) const;
  std::optional<double> curve_place_for(const Target& target) const;
  std::optional<double> grid_place_for(const Target& target) const;
  std::optional<Chosen> one_knob(const Target& target) const;
  Chosen own_knobs(std::size_t target) const;
  std::optional<Chosen> allocated(std::size_t target) const;

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
};

}  // namespace anchor::recall
