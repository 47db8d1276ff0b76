#pragma once

#include "anchor/base/kv_group.hpp"
#include "anchor/engine/engine.hpp"
#include "anchor/plan/plan_stats.hpp"

namespace anchor {

/// Statistics of a plan summed over its heads.
PlanStats layer_stats(const SparsePlan& plan);

/// True if the method lists single columns whose score reaches a threshold.
bool selects_stripes(const Method& method, const Params& params, const Geometry& geometry);

struct FoundKnob {
  double knob = 0;
  double stripe_density = 0;  ///< what the engine's plan has at that knob
};

/// The knob at which a threshold method's stripes hold `target` of the layer's causal pairs, within 1 % of
/// the target (or as close as four plans come). Critical values of sampled groups of every head give a
/// first curve of stripe density; the engine's own plans at the knobs read from it correct the curve's scale.
/// A usage error if the method does not select stripes.
FoundKnob knob_for_stripe_density(Engine& engine, const Inputs& inputs, const KvGroup& layer,
                                  const Method& method, const Params& params, double target);

}  // namespace anchor
