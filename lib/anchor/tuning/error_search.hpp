#pragma once

#include <optional>
#include <span>
#include <vector>

#include "anchor/mass/curve.hpp"
#include "anchor/tuning/head_at.hpp"

namespace anchor {

/// Looks for the plans of least density with which one head's output errs by at most some amounts. Its exact
/// curve says which knobs there are; the error of each has to be measured by running the plan. Every answer
/// is a plan that was run: on the safe side of the least one.
class ErrorSearch {
 public:
  /// `errors`: limits of out_rel_l2.
  ErrorSearch(Curve curve, std::vector<double> errors)
      : curve_(std::move(curve)), errors_(std::move(errors)) {}

  /// The knob to be run next: between the plans that miss and meet the limit that is known worst, where a
  /// power law of error over lost recall has it (and a little beyond). Nothing once each limit is met by a
  /// plan whose error lies within 5 % of it, or whose density within 0.005 of one that misses it.
  std::optional<double> next() const;
  void add(const HeadAt& run);

  const Curve& curve() const { return curve_; }
  const std::vector<HeadAt>& runs() const { return runs_; }  ///< ordered by density

 private:
  Curve curve_;
  std::vector<double> errors_;
  std::vector<HeadAt> runs_;
};

/// The point of least density (of points ordered by it) that meets the target; nullptr if none does.
const HeadAt* least(std::span<const HeadAt> points, const Target& target);

}  // namespace anchor
