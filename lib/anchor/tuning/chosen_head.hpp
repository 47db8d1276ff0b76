#pragma once

#include <span>
#include <vector>

#include "anchor/rows/result_row.hpp"
#include "anchor/tuning/head_at.hpp"

namespace anchor {

/// One head of a model with the knob that was chosen for it, and what it keeps there.
struct ChosenHead {
  int layer = 0, head = 0;
  HeadAt at;
  ScalarMap params = {};  ///< that were chosen for this head alone

  /// What a result row of kind sweep, scope head says.
  static ChosenHead of(const ResultRow& row);
};

/// One head with one knob on several texts: density and recall are means over them.
ChosenHead mean_over_texts(std::span<const ChosenHead> texts);

/// Means over heads.
struct ChosenMeans {
  double density = 0, mass_recall = 0;
};
ChosenMeans chosen_means(std::span<const ChosenHead> heads);

/// How many heads keep less than that recall.
std::size_t heads_below(std::span<const ChosenHead> heads, double mass_recall);

}  // namespace anchor
