#pragma once

#include <optional>
#include <vector>

namespace anchor {

/// Where the largest score of each query row lies: shares of the rows.
struct RowMaxPlaces {
  double initial = 0;  ///< in the initial block
  double local = 0;    ///< in the row's own group, or up to one block before it
  double elsewhere = 0;
};

/// What papers print of a plan beside density and recall, for one head.
struct SparsityStats {
  static constexpr int positions = 8;        ///< or as many as there are groups
  std::vector<double> density_by_position;   ///< kept share of the causal pairs, by eighths of the row groups
  std::optional<double> stripe_persistence;  ///< share of a group's stripes that the next group lists, too
  std::optional<double> shared_stripe_density;  ///< stripe density if the KV group's heads shared one list
  double sink_share = 0;                        ///< mass of the first key, mean over rows
  RowMaxPlaces row_max;
};

}  // namespace anchor
