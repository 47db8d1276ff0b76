#pragma once

#include <span>
#include <vector>

#include "anchor/mass/curve.hpp"

namespace anchor {

/// The points of a curve that an allocation chooses from: those with recall of at least `floor` (where none
/// has: the densest one alone) that lie on their upper convex hull, recall over density. The first is the one
/// of least density; from point to point recall gets dearer.
Curve convex_front(const Curve& curve, double floor);

/// One point per head, and how good the choice is.
struct Allocation {
  std::vector<std::size_t> point;       ///< index in each head's front
  double density = 0, mass_recall = 0;  ///< means over the heads
  double bound = 0;      ///< no choice of points is better: least mean density, or largest mean recall
  bool feasible = true;  ///< false: no choice meets the constraint; the nearest one was taken

  /// What a better choice could gain at most.
  double gap(bool of_recall) const { return of_recall ? bound - mass_recall : density - bound; }
};

/// The least mean density at which the heads' mean recall reaches the target: a multiple-choice knapsack
/// problem. The steps of all fronts are taken in the order of their price until the target is reached
/// (optimal if the last step could be taken in part: Lagrange relaxation, Sinha and Zoltners, Operations
/// Research 27(3), 1979); then the cheapest completion replaces the last step, and steps that turned out
/// superfluous are taken back.
Allocation allocate_for_recall(std::span<const Curve> fronts, double mean_recall);

/// The largest mean recall within a mean density, likewise.
Allocation allocate_for_density(std::span<const Curve> fronts, double mean_density);

}  // namespace anchor
