#pragma once

#include <span>
#include <vector>

#include "anchor/tuning/knob_curve.hpp"

namespace anchor {

/// The mass recall, at least `recall`, that each of the given heads must keep so that the output of its plan
/// lies within `max_error` (relative L2) of dense attention: found by running plans at knobs of the heads'
/// exact curves (ErrorSearch), so on the safe side of the least one.
std::vector<double> recall_for_error(Engine& engine, const Inputs& inputs, const Method& method,
                                     const Params& params, std::span<const int> heads,
                                     std::span<const KnobCurve> curves, DenseReference& dense, double recall,
                                     double max_error);

}  // namespace anchor
