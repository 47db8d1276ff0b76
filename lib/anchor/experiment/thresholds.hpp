#pragma once

#include <optional>
#include <string>
#include <vector>

#include "anchor/experiment/result_row.hpp"

namespace anchor {

/// One knob value per head, and what it reached where it was calibrated: format "anchor-thresholds" 1.0.
struct Thresholds {
  struct Layer {
    int layer = 0;
    std::vector<int> heads;
    std::vector<double>
        value;  ///< one per listed head; -infinity (null in the file): the forced entries suffice
    std::vector<double> mass_recall, density;
  };

  std::string method, knob;
  ScalarMap params;  ///< the method's parameters; the knob among them is overridden by `value`
  std::string model;
  Target target;
  std::vector<std::string> calibrated_on;  ///< dump paths
  std::vector<Layer> layers;

  /// The value of one head; a data error naming `path` if the file lacks it.
  double value_of(int layer, int head, const std::string& path) const;
};

/// Reads and checks a thresholds file. Data errors name the file and the broken field.
Thresholds read_thresholds(const std::string& path);

/// The file's text, with provenance.
std::string thresholds_text(const Thresholds& thresholds);

}  // namespace anchor
