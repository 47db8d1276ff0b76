#pragma once

#include <algorithm>
#include <cmath>
#include <optional>

#include "anchor/replay/replay.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {

/// What one head keeps at one knob: by its exact curve, or by a plan that was run.
struct HeadAt {
  double knob = 0, density = 0, mass_recall = 0;
  /// Known of plans that were run.
  std::optional<double> work_density = {}, out_rel_l2 = {}, mass_recall_p05 = {}, mass_recall_min = {};

  static HeadAt of(double knob, const HeadReplay& run) {
    return {.knob = knob,
            .density = run.stats.density(),
            .mass_recall = run.recall.mean,
            .work_density = run.stats.work_density(),
            .out_rel_l2 = run.difference.relative_l2(),
            .mass_recall_p05 = run.recall.p05,
            .mass_recall_min = run.recall.min};
  }
  static HeadAt of(const CurvePoint& point) {
    return {.knob = point.knob, .density = point.density, .mass_recall = point.mass_recall};
  }
};

/// The logarithm of a loss, of recall or of output, which may be nothing but the rounding of its sum.
inline double log_loss(double loss) {
  constexpr double least = 1e-7;
  return std::log(std::max(loss, least));
}

/// What the target's metric counts as lost, such as 1 - mass_recall; and how much of it the target allows.
/// Recalls are sums of floats, whose order is not the same in curves and in runs.
inline double loss(const Target& target, const HeadAt& point) {
  return target.metric == "mass_recall" ? 1 - point.mass_recall : point.out_rel_l2.value();
}
inline double limit(const Target& target) {
  constexpr double rounding = 1e-5;
  return target.metric == "mass_recall" ? 1 - target.value + rounding : target.value;
}

}  // namespace anchor
