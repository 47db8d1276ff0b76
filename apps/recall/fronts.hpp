#pragma once

#include "recall/recall.hpp"

namespace anchor::recall {

/// --pareto F.svg: mean recall over mean density of every chosen method under one knob for all selected
/// heads, a row with the curve and the densities that recalls of .90, .95 and .99 need, and the picture.
/// Exact curves where plans are thresholds on scores; else plans are replayed at knobs chosen on the first KV
/// group, with straight lines between. Returns the exit code.
int run_fronts(const Options& options);

}  // namespace anchor::recall
