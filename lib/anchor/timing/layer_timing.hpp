#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "anchor/engine/engine.hpp"
#include "anchor/timing/layer_check.hpp"
#include "anchor/timing/layer_source.hpp"
#include "anchor/tuning/thresholds.hpp"

namespace anchor {

/// A method to be timed, or a baseline that others are measured against.
struct TimedMethod {
  std::string name;                ///< of the method, or of the device vendor's library
  const Method* method = nullptr;  ///< nullptr: the library
  Params params = {};
  std::optional<double> stripe_density = {};  ///< find the knob whose stripes hold this share of the pairs
  bool baseline = false;
};

/// How layers are timed.
struct TimingSettings {
  bool warm = false;             ///< leave in the cache what the same run left there; else it is flushed
  double seconds = 10;           ///< per contender
  double relative_width = 0.01;  ///< of the median's interval at which a contender is done
  int sampled_rows = 64;         ///< that are compared with the reference before timing
  std::optional<Target> match;   ///< find every method's knob that meets this on the layer
  std::optional<Thresholds> thresholds;  ///< knobs of heads, for all but baselines
  std::string thresholds_path;
  std::vector<std::string> argv;  ///< the command line that rows name
};

/// The row of a method on a layer.
struct TimedRow {
  ResultRow row;
  bool check_failed = false;  ///< its knob missed the target, or its plan or output was wrong
};

/// Times methods and baselines in turns on one layer after the other. What has not passed its check
/// (check_layer()) is not timed.
class LayerTiming {
 public:
  /// Keeps engine and source.
  LayerTiming(Engine& engine, const LayerSource& source, std::vector<TimedMethod> methods,
              TimingSettings settings);

  /// The rows of a task before anything is computed, one per method, with their units.
  std::vector<TimedRow> templates(const LayerTask& task) const;
  /// Computes the task and fills these rows. What is wrong with data or with one method's check is said in
  /// rows; what is wrong with a request is thrown.
  void run(const LayerTask& task, std::vector<TimedRow>& rows);

 private:
  /// A method that is ready to run.
  struct Ready {
    std::unique_ptr<Pipeline> pipeline;  ///< nullptr: it is not timed
    PlanStats stats;
  };

  /// Is the method's knob to be searched?
  bool searches(const TimedMethod& method) const;
  PlanRequest request(const TimedMethod& method, const LayerTask& task) const;
  std::vector<std::uint64_t> identity(const LayerTask& task) const;
  Ready prepare(const TimedMethod& method, TimedRow& timed, const KvGroup& layer, const Inputs& inputs,
                const LayerTask& task, std::unique_ptr<DenseReference>& dense);
  void find_knob(const TimedMethod& method, TimedRow& timed, const Inputs& inputs, const KvGroup& layer,
                 PlanRequest& request, std::unique_ptr<DenseReference>& dense);
  void time(std::vector<TimedRow>& rows, std::vector<Ready>& ready);
  void fill_times(ResultRow& row, Ready& ready) const;
  void speed_ups(std::vector<TimedRow>& rows) const;

  Engine& engine_;
  const LayerSource& source_;
  std::vector<TimedMethod> methods_;
  TimingSettings settings_;
  std::optional<double> matmul_tflops_;
};

}  // namespace anchor
