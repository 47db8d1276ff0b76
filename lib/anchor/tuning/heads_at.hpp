#pragma once

#include <optional>
#include <span>
#include <vector>

#include "anchor/tuning/head_at.hpp"

namespace anchor {

/// All heads of a dump at their knobs, in the order of the groups.
struct HeadsAt {
  std::optional<double> knob;  ///< of all heads; empty if heads have knobs of their own
  std::vector<HeadAt> heads;
  double gap = 0;  ///< of an allocation: what a better one could save at most, in mean density

  double mean_density() const;
  double mean_loss(const Target& target) const;
};

/// Means over some heads, and what the mean hides: the head that loses most.
struct HeadMeans {
  double density = 0, mass_recall = 0;
  std::optional<double> work_density, out_rel_l2;  ///< if the plans of all these heads were run
  double worst_loss = 0;                           ///< as loss() has it
  std::size_t worst_head = 0;                      ///< its index among the points

  /// Sums up the heads `which` (indices of points), at least one; the target's metric says what a head loses.
  static HeadMeans of(std::span<const HeadAt> points, std::span<const std::size_t> which,
                      const Target& target);

  /// What the mean loses of the target's metric.
  double loss(const Target& target) const;
};

/// A loss as the target's metric has it: 1 - loss of a recall.
double metric_of_loss(const Target& target, double loss);

}  // namespace anchor
