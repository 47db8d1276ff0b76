#pragma once

#include <string>

#include "anchor/tuning/chosen_head.hpp"

namespace anchor {

/// What the heads of one text reach with the knobs that they were given.
struct Tally {
  double heads = 0, reach = 0, density = 0, mass_recall = 0;  ///< sums; `reach`: heads at the target
  double worst = 2;                                           ///< mass recall of a head
  std::string worst_head;                                     ///< "layer:head"
  double error = 0, worst_error = -1, worst_p05 = 2;          ///< of heads whose plans were run
  std::string worst_error_head, worst_p05_head;

  /// Plans were run.
  bool measured() const { return worst_error >= 0; }

  void add(const ChosenHead& head, double target_recall);
};

}  // namespace anchor
