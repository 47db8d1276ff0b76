#pragma once

#include <optional>
#include <string>
#include <vector>

#include "anchor/tuning/chosen_head.hpp"
#include "anchor/tuning/knob_curve.hpp"
#include "sweep/sweep_options.hpp"

namespace anchor::sweep {

/// A knob for every head, however it was chosen: a line of the table.
struct Assignment {
  std::string name;  ///< "theta per head", "one theta"
  std::vector<ChosenHead> heads;
  ChosenMeans means;
  std::optional<std::size_t> below;  ///< heads that miss the target
  std::optional<double> gap;         ///< of an allocation
};

/// What one run found over all heads.
struct Findings {
  std::vector<KnobCurve> layers;    ///< mean curve of each layer's heads
  std::vector<double> layer_heads;  ///< how many they are
  std::vector<ChosenHead> heads;    ///< each at its own knob
  std::vector<bool> wins;           ///< of the same heads, with several runs
  std::vector<Curve> fronts;        ///< of the same heads, with --allocate
  std::vector<Assignment> assignments;
  std::vector<ResultRow> grid_rows;  ///< curve rows, for the table of --grid
};

/// The tables for people that follow the rows.
void print_summary(const Request& request, const std::vector<Findings>& findings);

}  // namespace anchor::sweep
