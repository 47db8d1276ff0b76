#pragma once

#include "anchor/mass/curve.hpp"

namespace anchor {

/// Mean density and recall over many heads under one shared knob, in memory that does not grow with the
/// heads: steps fall into bins of the float number line, 4096 to an octave. The curve's points are upper bin
/// edges (lower ones where the curves descend), and exact there; a threshold read from it lies within 0.025 %
/// of the least one.
class GlobalCurve {
 public:
  GlobalCurve();
  void add(const Curve& head);
  std::int64_t heads() const { return heads_; }
  /// Mean over the heads added so far. With no heads: empty.
  Curve mean() const;

 private:
  std::int64_t heads_ = 0;
  bool descending_ = false;
  double first_density_ = 0, first_recall_ = 0;
  std::vector<double> density_, recall_;  ///< steps per bin
};

}  // namespace anchor
