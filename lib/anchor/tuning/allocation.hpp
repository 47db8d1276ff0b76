#pragma once

#include <span>
#include <vector>

#include "anchor/mass/curve.hpp"

namespace anchor {

/// What an allocation knows of the settings that one head can be given: a view of their densities and of what
/// they gain, such as recall, or 1 - output error. Both ascend, and the gain gets dearer from setting to
/// setting (convex_front()).
struct Front {
  std::span<const double> density, gain;

  Front(std::span<const double> densities, std::span<const double> gains) : density(densities), gain(gains) {}
  Front(const Curve& curve) : Front(curve.density, curve.mass_recall) {}

  std::size_t size() const { return density.size(); }
};

/// The settings that are worth choosing from: those with a gain of at least `floor` (where none has: the
/// densest one alone) that lie on the upper convex hull of gain over density. Ascending indices; the first is
/// the setting of least density. Takes any settings in the order of their density whose gain ascends.
std::vector<std::size_t> convex_front(const Front& settings, double floor);

/// The points of a curve on its front: recall of at least `floor`, and dearer from point to point.
Curve convex_front(const Curve& curve, double floor);

/// One setting per head, and how good the choice is.
struct Allocation {
  std::vector<std::size_t> point;  ///< index in each head's front
  double density = 0, gain = 0;    ///< means over the heads
  double bound = 0;                ///< no choice is better: least mean density, or largest mean gain
  bool feasible = true;            ///< false: no choice meets the constraint; the nearest one was taken

  /// What a better choice could gain at most.
  double gap(bool of_gain) const { return of_gain ? bound - gain : density - bound; }
};

/// The least mean density at which the heads' mean gain reaches the target: a multiple-choice knapsack
/// problem. The steps of all fronts are taken in the order of their price until the target is reached
/// (optimal if the last step could be taken in part: Lagrange relaxation, Sinha and Zoltners, Operations
/// Research 27(3), 1979); then the cheapest completion replaces the last step, and steps that turned out
/// superfluous are taken back.
Allocation allocate_for_gain(std::span<const Front> fronts, double mean_gain);

/// The largest mean gain within a mean density, by the same order of steps.
Allocation allocate_for_density(std::span<const Front> fronts, double mean_density);

/// The same for fronts of curves, whose gain is recall.
Allocation allocate_for_recall(std::span<const Curve> fronts, double mean_recall);
Allocation allocate_for_density(std::span<const Curve> fronts, double mean_density);

}  // namespace anchor
