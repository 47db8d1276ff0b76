#pragma once

#include "anchor/method/method.hpp"

namespace anchor {

/// The values of a method's knob on a scale that searches can halve: place 0 keeps least, place 1 most. Knobs
/// that count tokens or blocks, and those without an upper bound (from 1e-6 on), are spaced evenly in their
/// logarithm; thresholds on scores lie within [-64, 64].
class KnobScale {
 public:
  /// A usage error if the method has no knob.
  KnobScale(const Method& method, const Geometry& geometry);
  double knob(double place) const;
  /// The place of a knob, in [0, 1]: knobs beyond the scale's ends lie at them.
  double place(double knob) const;
  /// Is the knob a threshold on scores, to which something can be added?
  bool additive() const { return low_ < 0; }
  /// `params` with the knob of a place, and with the method's second budget in the same proportion.
  Params params_at(const Params& params, double place) const;

 private:
  const Method& method_;
  bool whole_ = false, logarithmic_ = false;
  double low_ = 0, high_ = 0;
};

}  // namespace anchor
