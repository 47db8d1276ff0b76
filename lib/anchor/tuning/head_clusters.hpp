#pragma once

#include <vector>

#include "anchor/mass/mass_map.hpp"

namespace anchor {

/// Where one head's attention goes: its block masses as one distribution over (tile, block).
struct HeadPattern {
  std::vector<float> share;  ///< sums to 1
  double entropy = 0;        ///< in nats
};

/// The pattern of a map of block masses.
HeadPattern head_pattern(const MassMap& mass);

/// Square root of the Jensen-Shannon divergence, natural log: 0 for equal patterns, sqrt(ln 2) = 0.8326 for
/// disjoint ones. Both have the same number of cells.
double pattern_distance(const HeadPattern& a, const HeadPattern& b);

/// Agglomerative clustering: the two clusters with the least mean distance between their heads join (the
/// first such pair) while that is at most `cut`. One label per head; labels count from 0 in the order of
/// their first head.
std::vector<int> cluster_heads(const std::vector<HeadPattern>& heads, double cut);

}  // namespace anchor
