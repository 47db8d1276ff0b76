#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "anchor/mass/critical.hpp"

namespace anchor {

/// What printed curves may be off by (thin()).
inline constexpr double curve_tolerance = 5e-4;

/// One point of a curve.
struct CurvePoint {
  double knob = 0, density = 0, mass_recall = 0;
};

/// Density and mean mass recall as step functions of a method's knob: the value at x is that of the last
/// point at or before x. The first point is what is kept at every knob value (knob = -infinity). Where a
/// larger knob keeps less, the curve descends: it starts at knob = +infinity, and "before" means larger.
struct Curve {
  std::vector<double> knob, density, mass_recall;  ///< one entry per step; density and recall ascend
  bool descending = false;                         ///< knob values fall along the curve

  std::size_t size() const { return knob.size(); }
  CurvePoint point(std::size_t n) const { return {knob[n], density[n], mass_recall[n]}; }
  void push(const CurvePoint& point);
  /// Index of the last point at or before x.
  std::size_t at(double x) const;
  /// Index of the point of least density whose mass recall reaches the target; nullopt if none does.
  std::optional<std::size_t> least(double target_recall) const;
};

/// The exact curve of one head: entries sorted by critical value, prefix sums of pairs and mass. Entries with
/// equal critical values enter together. Exact at every knob value: nothing changes between entries. Recall
/// that rounding puts outside [0, 1] is cut to it; a data error if it is not finite or lies further outside.
Curve exact_curve(const CriticalItems& items);

/// A curve with fewer points that stays within `tolerance` of the full one in both columns at every knob
/// value: the first point of each cell of that size, and the last point of all.
Curve thin(const Curve& curve, double tolerance = curve_tolerance);

/// The last point of each bin of the float number line, 4096 bins to an octave, and the first point of all: a
/// curve of bounded size whose points are points of the full one.
Curve binned(const Curve& curve);

/// One head's exact curve where it was made, in host or device memory: millions of points at long contexts,
/// of which callers ask for a few.
class HeadCurve {
 public:
  virtual ~HeadCurve() = default;
  virtual std::size_t size() const = 0;  ///< an upper bound of the number of points
  /// The point of least density whose recall reaches the target; nullopt if none does.
  virtual std::optional<CurvePoint> least(double target_recall) const = 0;
  /// The point of most density.
  virtual CurvePoint densest() const = 0;
  /// The point that holds at a knob value.
  virtual CurvePoint at(double knob) const = 0;
  virtual Curve thinned(double tolerance) const = 0;  ///< thin()
  virtual Curve binned() const = 0;                   ///< binned()
  virtual Curve full() const = 0;
};
using UseCurve = std::function<void(const HeadCurve&)>;

/// A curve in host memory.
std::unique_ptr<HeadCurve> host_curve(Curve curve);

/// Mean density and mean mass recall of several curves as functions of one shared knob: several heads under a
/// global threshold, or one head on several texts; all ascend or all descend. `weights` (empty = equal) are
/// one per curve, such as the heads that a curve is the mean of.
Curve mean_curve(std::span<const Curve> curves, std::span<const double> weights = {});

}  // namespace anchor
