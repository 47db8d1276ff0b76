#pragma once

#include <vector>

#include "anchor/tuning/error_curve.hpp"
#include "sweep/head_variant.hpp"

namespace anchor::sweep {

/// What a head can be given: a variant and its knob.
struct HeadSetting {
  std::size_t variant = 0;
  double knob = 0;
};

/// The settings of one head that an allocation of output error chooses from.
struct ErrorFront {
  /// convex_front() of all settings: density with the variants' prices, 1 - error in the place of recall, and
  /// the setting's index for knob.
  Curve front;
  std::vector<HeadSetting> settings;
};

/// A head's front over several texts: densities are means over them, errors means or the largest.
/// `curves` by variant and text.
ErrorFront error_front(const std::vector<HeadVariant>& variants,
                       const std::vector<std::vector<const ErrorCurve*>>& curves, bool worst);

}  // namespace anchor::sweep
