#pragma once

#include <span>
#include <vector>

#include "anchor/tuning/head_at.hpp"
#include "anchor/tuning/knob_curve.hpp"

namespace anchor {

/// The output error at a recall, by a power law of the lost recall through the runs on both sides of it;
/// beyond them in proportion to what is lost. `runs`: at least one, by density.
double error_near(std::span<const HeadAt> runs, double recall);

/// One head's output error as a function of its knob: plans were run at some knobs of its exact curve, and
/// between two of them the error follows a power law of the lost recall. Of a method without exact curves it
/// is known at the knobs that were run, and nowhere else.
class ErrorCurve {
 public:
  /// `runs`: plans that were run, at least one, in the curve's order.
  ErrorCurve(KnobCurve curve, std::vector<HeadAt> runs) : curve_(std::move(curve)), runs_(std::move(runs)) {}

  double density(double knob) const { return curve_.points.density[curve_.at(knob)]; }
  /// Relative L2 error of the output; beyond the runs that of the nearest one.
  double error(double knob) const;
  std::span<const HeadAt> runs() const { return runs_; }
  /// Can it be asked for any knob?
  bool exact() const { return curve_.exact; }

 private:
  KnobCurve curve_;
  std::vector<HeadAt> runs_;
};

/// Runs the given heads' plans at about a dozen knobs of their curves, from the least density up, each losing
/// about half of the recall that the one before it lost; no further once every head errs by less than a
/// tenth of `wanted`. Curves that are not exact are run at all of their knobs.
std::vector<ErrorCurve> error_curves(Engine& engine, const Inputs& inputs, const Method& method,
                                     const Params& params, std::span<const int> heads,
                                     std::span<const KnobCurve> curves, DenseReference& dense, double wanted);

}  // namespace anchor
