#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "anchor/engine/engine.hpp"
#include "anchor/mass/curve.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {

/// Density and recall of one head (or of a mean of heads) against a method's knob: exact at every value for
/// methods whose plan is a threshold on a score, or replayed at the values of a grid.
struct KnobCurve {
  Curve points;  ///< exact: a step function. Else the grid's values, in the grid's order
  bool exact = true;

  std::size_t size() const { return points.size(); }
  /// The point of least density whose recall reaches the target; nullopt if none does.
  std::optional<std::size_t> least(double target_recall) const;
  /// The point of most density.
  std::size_t densest() const;
  /// least(), or densest() where no point reaches the target.
  std::size_t reach(double target_recall) const { return least(target_recall).value_or(densest()); }
  /// The point that holds at a knob value; of a grid, the point with exactly that value.
  std::size_t at(double knob) const;
};

/// Means over heads or texts, as functions of a shared knob. Grid curves must share their grid.
KnobCurve mean_curve(std::span<const KnobCurve> curves, std::span<const double> weights = {});

/// The curves of the given query heads (indices in the group), by critical values where the method has them,
/// else by replaying it at every value of `grid`. Of curves with more than a million points the binned ones:
/// their points are points of the full ones, and a knob read from them lies within 0.025 % of the least one.
std::vector<KnobCurve> knob_curves(Engine& engine, const Inputs& inputs, const Method& method,
                                   const Params& params, std::span<const double> grid,
                                   std::span<const int> heads);

/// As a result row holds it, ordered by density; and back, descending if its knobs fall.
CurvePoints curve_points(const KnobCurve& curve);
KnobCurve curve_of(const CurvePoints& points, bool exact);

}  // namespace anchor
