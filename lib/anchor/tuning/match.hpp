#pragma once

#include <string>

#include "anchor/engine/engine.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {

/// The knob at which a method meets a target on some inputs.
struct Match {
  PlanRequest request;  ///< with the knob, and a second budget in the same proportion; or with moved knobs
  double knob = 0;      ///< the knob, or what was added to every head's
  Kept kept;            ///< at that knob
  bool met = false;     ///< false: the plan that keeps most still misses the target
  int plans = 0;        ///< made and executed on the way
};

/// Bisects the method's knob, the same for all heads, with plans executed and compared with dense attention:
/// the cheapest knob found that keeps at least `target` of the mass (metric mass_recall), or whose output
/// errs by at most that (out_rel_l2). Stops within 0.1 % of the mass recall's target, 2 % of the output
/// error's, or where knobs no longer differ. Whole-number knobs and those without an upper bound are searched
/// on a logarithmic scale, from 1e-6 on. Where heads have knobs of their own, all are moved by one amount
/// instead; a head at -infinity moves from the least finite knob of the others. A usage error if the method
/// has no knob, or if one of single heads is no threshold on a score.
Match match_knob(Engine& engine, const Inputs& inputs, DenseReference& dense, const Method& method,
                 const PlanRequest& request, const Target& target);

}  // namespace anchor
