#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "anchor/attention/attention.hpp"
#include "anchor/plan/sparse_plan.hpp"

namespace anchor {

/// One query row of a layer.
struct QueryRow {
  int head = 0;
  std::int64_t row = 0;
};

/// One way to compute the attention of a whole layer, ready to be run again and again: memory is taken and
/// whatever depends on shapes alone is prepared beforehand. Output has the inputs' own type.
class Pipeline {
 public:
  virtual ~Pipeline() = default;

  /// Runs once, planning included, and returns the nanoseconds it took: on the device's clock where all of
  /// it runs there, else on the host's. `cold`: the device's cache holds other data at the start; otherwise
  /// it holds what the same run leaves behind. The CPU engine makes no difference.
  virtual std::int64_t run(bool cold) = 0;

  /// The parts of one more run, in nanoseconds: anchor (with its attention), identify and stripes where the
  /// planner attends too; anchor, identify and execute where the device plans only, plan and execute where
  /// the CPU does, execute alone otherwise. Their sum is not run()'s time: marking the parts costs some of
  /// its own.
  virtual std::map<std::string, std::int64_t> stages(bool cold) = 0;

  /// Some rows of the last run: out [rows, head_dim] and lse [rows].
  virtual AttentionResult rows(std::span<const QueryRow> rows) = 0;
  /// The last run's plan.
  virtual SparsePlan plan() = 0;

  virtual std::string path() const = 0;  ///< as Engine::path, or the library and its version
  /// How far the critical value of a listed (or missed) entry may lie on the wrong side of the knob because
  /// the planner rounds; 0 if it computes as the CPU's does.
  virtual double knob_rounding() const { return 0; }
  virtual std::string plan_path() const = 0;  ///< as DevicePlan::plan_path; "none" where nothing is planned
};

}  // namespace anchor
