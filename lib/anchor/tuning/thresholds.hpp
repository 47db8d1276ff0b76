#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "anchor/data/dump_reader.hpp"
#include "anchor/method/method_run.hpp"
#include "anchor/rows/result_row.hpp"
#include "anchor/tuning/chosen_head.hpp"

namespace anchor {

/// One knob value per head, and what it reached where it was calibrated: format "anchor-thresholds" 1.0,
/// or 1.1 where heads also have parameters of their own.
struct Thresholds {
  /// What heads of another model may have otherwise.
  struct HeadShape {
    int q_heads = 0, kv_heads = 0, head_dim = 0;
    bool operator==(const HeadShape&) const = default;
  };
  struct Layer {
    int layer = 0;
    std::vector<int> heads;
    std::vector<double>
        value;  ///< one per listed head; -infinity (null in the file): the forced entries suffice
    std::vector<double> mass_recall, density;
    /// Parameters that were chosen head by head: one value per listed head each. 1.1.
    std::map<std::string, std::vector<Scalar>> params = {};
    std::optional<HeadShape> shape = {};  ///< of the layer; files of older tools do not say
  };

  std::string method, knob;
  ScalarMap params;  ///< the method's parameters; the knob among them is overridden by `value`
  std::string model;
  Target target;
  std::vector<std::string> calibrated_on;  ///< dump paths
  std::vector<Layer> layers;

  /// A data error names `path` and what the file lacks for these heads of a layer (model indices), or that it
  /// is for heads of another shape.
  void check(const Method& of, int layer, const Geometry& shape, std::span<const int> heads,
             const std::string& path) const;

  /// Gives a request for some heads of a layer (model indices, or -1 for a head that nobody asked for, which
  /// keeps the request's parameters) their knobs and parameters. A data error names `path` and the head that
  /// the file lacks.
  void apply(const Method& of, int layer, std::span<const int> heads, const std::string& path,
             PlanRequest& request) const;

 private:
  const Layer& entry_of(int layer, const std::string& path) const;
};

/// The thresholds that give these heads their knobs. `heads` of one layer keep their order; all have the same
/// parameters of their own. `model`: as dumps name it.
Thresholds make_thresholds(const MethodRun& run, const std::string& model, const Target& target,
                           const std::vector<std::string>& calibrated_on, std::span<const ChosenHead> heads);

/// Adds the shapes of the layers, as the dump has them.
void set_shapes(Thresholds& thresholds, const DumpReader& reader);

/// What is wrong with a value as a threshold of that method; empty if nothing is. Besides what the knob's own
/// range says, the infinity below every critical value is right where curves are exact: what is always kept
/// suffices.
std::string check_threshold(const Method& of, double value);

/// Reads and checks a thresholds file: every value by the method's own knob, every parameter by its own
/// range, lists of equal lengths. Data errors name the file and the broken field.
Thresholds read_thresholds(const std::string& path);

/// The file's text, with provenance.
std::string thresholds_text(const Thresholds& thresholds);

}  // namespace anchor
