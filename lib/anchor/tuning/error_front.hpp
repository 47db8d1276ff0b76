#pragma once

#include <vector>

#include "anchor/tuning/allocation.hpp"
#include "anchor/tuning/error_curve.hpp"
#include "anchor/tuning/head_setting.hpp"

namespace anchor {

/// The settings of one head that an allocation of output error chooses from: those on the front of all its
/// settings (convex_front()), by density.
struct ErrorFront {
  std::vector<HeadSetting> settings;
  std::vector<double> density;  ///< with the variants' prices
  std::vector<double> gain;     ///< 1 - output error

  Front view() const { return {density, gain}; }
};

/// One variant of a head, and its error curve on every text.
struct VariantErrors {
  double cost = 0;  ///< HeadVariant::cost
  std::vector<const ErrorCurve*> texts;
};

/// A head's front over several texts: densities are means over the texts, errors means or, if `worst`, the
/// largest of them.
ErrorFront error_front(const std::vector<VariantErrors>& variants, bool worst);

}  // namespace anchor
