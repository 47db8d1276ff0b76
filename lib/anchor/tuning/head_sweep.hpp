#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "anchor/replay/replay.hpp"
#include "anchor/tuning/head_at.hpp"
#include "anchor/tuning/knob_curve.hpp"

namespace anchor {

/// What a sweep wants to know of every head.
struct SweepRequest {
  double target_recall = 0.95;
  std::vector<double>
      grid;  ///< knob values to look at, ascending; the only ones for methods without exact curves
  enum class Shown : std::uint8_t { nothing, grid, thin, full } shown = Shown::nothing;
  std::optional<double> floor;  ///< least recall of the front's points; empty: no front is wanted
  bool measure = true;          ///< run the plans at the found knobs
  int row_curve_points = 0;     ///< of the curve whose points are run; 0 = none is wanted
};

/// What was found about one head.
struct HeadSweep {
  CurvePoint found;  ///< least density at which the recall reaches the target, or else the largest
  std::optional<HeadReplay> measured;  ///< the plan at that knob
  std::optional<KnobCurve> shown;      ///< what is to be printed
  KnobCurve steps;                     ///< for means over heads: binned() or the grid
  Curve front;                         ///< convex_front() of the binned curve
  std::vector<HeadAt> row_curve;       ///< knobs whose recalls divide the head's range evenly
};

/// The heads of one KV group under one method.
struct GroupSweep {
  std::vector<HeadSweep> heads;
  std::string plan_path;  ///< where critical values were computed, or plans made
};

/// Sweeps the given query heads (indices in the group). `dense` is made when it is first needed, and serves
/// further sweeps of the same inputs.
GroupSweep sweep_group(Engine& engine, const Inputs& inputs, const Method& method, const Params& params,
                       const SweepRequest& request, std::span<const int> heads,
                       std::unique_ptr<DenseReference>& dense);

/// Runs the plans of the given heads, each at a knob of its own; `head_params`: with parameters of its own,
/// too (Method::head_params), or empty.
std::vector<HeadReplay> measure_heads(Engine& engine, const Inputs& inputs, const Method& method,
                                      const Params& params, std::span<const int> heads,
                                      std::span<const double> knobs, DenseReference& dense,
                                      std::span<const Params> head_params = {});

}  // namespace anchor
