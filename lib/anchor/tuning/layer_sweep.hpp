#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "anchor/method/method_run.hpp"
#include "anchor/tuning/global_curve.hpp"
#include "anchor/tuning/head_sweep.hpp"

namespace anchor {

/// Which of several runs, by what they found for one head, keeps the target with the least density; if none
/// does, which one keeps most. The first of equals.
std::size_t best_run(std::span<const CurvePoint> found, double target_recall);

/// The heads of one layer under several runs, and the mean curve of each run: density and recall under one
/// knob for all heads. KV groups may be swept at the same time; means are taken in order.
class LayerSweep {
 public:
  /// `heads`: how many of the layer's heads are swept.
  LayerSweep(const SweepRequest& request, std::span<const MethodRun> runs, std::size_t heads);

  /// Sweeps a KV group; one result per run. `first`: the position of its first head among the layer's.
  std::vector<GroupSweep> sweep(Engine& engine, const Inputs& inputs, std::span<const int> heads,
                                std::size_t first);

  /// Adds those heads to the mean curves, after their sweep.
  void add_to_means(std::size_t first, std::size_t count);
  /// The mean over all heads, thinned if exact; nothing if the sweep of a head failed.
  std::optional<KnobCurve> mean(std::size_t run) const;

 private:
  const SweepRequest& request_;
  std::span<const MethodRun> runs_;
  std::vector<std::vector<KnobCurve>> steps_;        ///< by run and head; exact ones until they are added
  std::vector<std::unique_ptr<GlobalCurve>> means_;  ///< by run, of exact curves
  bool complete_ = true;
};

}  // namespace anchor
