#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "anchor/mass/critical.hpp"

namespace anchor {

/// Density and mean mass recall as step functions of a method's knob: the value at x is that of the last
/// point at or before x. The first point is what is kept at every knob value (knob = -infinity). Where a
/// larger knob keeps less, the curve descends: it starts at knob = +infinity, and "before" means larger.
struct Curve {
  std::vector<double> knob, density, mass_recall;  ///< one entry per step; density and recall ascend
  bool descending = false;                         ///< knob values fall along the curve

  std::size_t size() const { return knob.size(); }
  /// Index of the last point at or before x.
  std::size_t at(double x) const;
  /// Index of the point of least density whose mass recall reaches the target; nullopt if none does.
  std::optional<std::size_t> least(double target_recall) const;
};

/// The exact curve of one head: entries sorted by critical value, prefix sums of pairs and mass. Entries with
/// equal critical values enter together. Exact at every knob value: nothing changes between entries.
Curve exact_curve(const CriticalItems& items);

/// A curve with fewer points that stays within `tolerance` of the full one in both columns at every knob
/// value. Keeps the first and the last point.
Curve thin(const Curve& curve, double tolerance = 5e-4);

/// Mean density and mean mass recall of several curves as functions of one shared knob: several heads under a
/// global threshold, or one head on several texts; all ascend or all descend. `weights` (empty = equal) are
/// one per curve, such as the heads that a curve is the mean of.
Curve mean_curve(std::span<const Curve> curves, std::span<const double> weights = {});

}  // namespace anchor
