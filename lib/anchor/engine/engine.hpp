#pragma once

#include <memory>
#include <memory_resource>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "anchor/engine/dense_reference.hpp"
#include "anchor/engine/device_state.hpp"
#include "anchor/engine/pipeline.hpp"
#include "anchor/mass/curve.hpp"
#include "anchor/method/method.hpp"
#include "anchor/metrics/peak_recall.hpp"
#include "anchor/plan/plan_stats.hpp"

namespace anchor {

/// A KV group on an engine's device.
class Inputs {
 public:
  virtual ~Inputs() = default;
  virtual const Geometry& geometry() const = 0;
};

/// A plan on an engine's device. Move-only and opaque; to_host() is its only trip (Engine::stats() counts it
/// where it is).
class DevicePlan {
 public:
  virtual ~DevicePlan() = default;
  virtual SparsePlan to_host() const = 0;
  /// Where it was made: "cpu" or "cuda".
  virtual std::string plan_path() const = 0;
};
using PlanHandle = std::unique_ptr<DevicePlan>;

/// The largest scaled score of every query row of a head: over all keys it sees, over the first `block` keys
/// and its local window together, and over the local window alone.
struct RowMaxima {
  std::vector<float> all, region, local;  ///< [q_len]
};

/// Plans, executes and weighs KV groups on one device. Tools speak to an Engine and never ask which one it
/// is.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::string device() const = 0;  ///< "cpu" or the card's name
  virtual std::string path() const = 0;    ///< "reference", "cpu", "cuda-sm90", "cuda-sm80"

  /// To be called first in every other thread than the engine's maker's that uses it. An engine serves one
  /// thread at a time; several engines may share a device.
  virtual void enter_thread() {}
  /// Memory from which uploads are fastest. It serves all threads, and must be given back before the engine
  /// goes.
  virtual std::pmr::memory_resource* host_memory() { return std::pmr::get_default_resource(); }

  virtual std::unique_ptr<Inputs> upload(const KvGroup& group) = 0;

  /// The method's plan for query rows [begin, end) of every head (begin = 0, end = q_len: all of them). A
  /// range is planned like a chunk of prefill that starts at position q_start + begin.
  virtual PlanHandle plan(const Method& method, const PlanRequest& request, const Inputs& inputs,
                          std::int64_t begin, std::int64_t end) = 0;

  /// What a plan keeps and costs, for every query head: plan_stats() of the plan, to the last pair, counted
  /// where the plan is.
  virtual std::vector<PlanStats> stats(const DevicePlan& plan) = 0;

  /// Runs a plan; the result covers the plan's own query rows.
  virtual AttentionResult execute(const Inputs& inputs, const DevicePlan& plan) = 0;

  /// mass() has tile_rows in multiples of it.
  virtual std::int64_t least_mass_rows() const { return 1; }
  /// Exact attention mass of one query head of the group.
  virtual MassMap mass(const Inputs& inputs, int head, const MassGranularity& granularity) = 0;

  /// Row maxima of one query head; the local window begins one block before the row's group of `group` rows.
  virtual RowMaxima row_maxima(const Inputs& inputs, int head, std::int64_t block, std::int64_t group) = 0;

  /// All pairs of one query head whose dense weight is at least the least of peak_weights, from the head's
  /// dense lse [q_len] (mass/peaks.hpp). Nothing where no kernel finds them: on a GPU.
  virtual std::optional<std::vector<Peak>> peaks(const Inputs&, int /*head*/,
                                                 std::span<const double> /*lse*/) {
    return {};
  }

  /// The exact curves of query heads of the group, from every entry's critical value and mass: handed to
  /// `use` one after the other, in the order of `heads`; a curve lives until the call returns. The method has
  /// `granularity`. Returns where the critical values were computed: "cpu" or "cuda".
  virtual std::string curves(const Method& method, const Params& params, const Inputs& inputs,
                             std::span<const int> heads, const UseCurve& use) = 0;

  /// Every plan entry of one query head with its critical value, mass and place; the method has
  /// `granularity`, and `mass` has it, too. Nothing where the engine plans with numbers of its own (a GPU):
  /// its plans say when an entry joins.
  virtual std::optional<CriticalItems> critical(const Method&, const Params&, const Inputs&, int /*head*/,
                                                const MassMap&) {
    return {};
  }

  /// The method on these inputs, to be run again and again. The inputs must outlive it.
  virtual std::unique_ptr<Pipeline> pipeline(const Method& method, const PlanRequest& request,
                                             const Inputs& inputs) = 0;
  /// Dense attention by the device vendor's library: the baseline. A data error says why there is none.
  virtual std::unique_ptr<Pipeline> library_pipeline(const Inputs& inputs) = 0;

  /// Dense attention of the inputs, to compare plans with. The inputs must outlive it.
  virtual std::unique_ptr<DenseReference> dense_reference(const Inputs& inputs) {
    return host_dense_reference(*this, inputs);
  }

  /// Measured rate of a large matrix product, 2e12 multiply-adds a second = 4; nothing without a library
  /// that does one. Takes a quarter of a second.
  virtual std::optional<double> matmul_tflops(DType) { return {}; }
  /// Clocks, temperature, power and versions now.
  virtual DeviceState state() const { return {}; }
};

}  // namespace anchor
