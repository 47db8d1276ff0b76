#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "anchor/tuning/knob_curve.hpp"
#include "anchor/tuning/thresholds.hpp"
#include "sweep/sweep.hpp"

namespace anchor::sweep {

/// What a result row says about one head at one knob.
struct HeadPoint {
  int layer = 0, head = 0;
  double value = 0, density = 0, recall = 0;
  std::optional<double> p05, out_rel_l2;  ///< where the plan was run
  bool wins = false;                      ///< of several runs
  ScalarMap params = {};                  ///< that were chosen for this head

  static HeadPoint of(const ResultRow& row);
};

/// A way to choose every head's knob, for one table line.
struct Choice {
  std::string name;  ///< "theta per head", "one theta"
  std::vector<HeadPoint> heads;
  double density = 0, recall = 0;  ///< means over the heads
  std::optional<double> below;     ///< heads that miss the target
  std::optional<double> gap;       ///< of an allocation

  void take_means();  ///< from `heads`
};

/// What one run found over all heads.
struct Findings {
  std::vector<KnobCurve> layers;     ///< mean curve of each layer's heads
  std::vector<double> layer_heads;   ///< how many they are
  std::vector<HeadPoint> heads;      ///< each at its own knob
  std::vector<Curve> fronts;         ///< of the same heads, with --allocate
  std::vector<Choice> choices;       ///< lines of the table
  std::vector<ResultRow> grid_rows;  ///< curve rows, for the table of --grid
};

/// The file that gives these heads their knobs.
Thresholds thresholds_of(const MethodRun& run, const DumpReader& reader, const Target& target,
                         const std::vector<std::string>& calibrated_on, const std::vector<HeadPoint>& heads);

/// The tables for people that follow the rows.
void print_summary(const Request& request, const std::vector<Findings>& findings);

}  // namespace anchor::sweep
