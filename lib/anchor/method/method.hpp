#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/mass/critical.hpp"
#include "anchor/mass/mass_map.hpp"
#include "anchor/method/params.hpp"
#include "anchor/plan/sparse_plan.hpp"

namespace anchor {

/// What a method of model scope carries from head to head and layer to layer of one prompt. Its planner knows
/// the type behind it.
struct ModelState {
  virtual ~ModelState() = default;
};

/// What a planner is asked for.
struct PlanRequest {
  Params params;
  std::vector<double> knobs;  ///< one knob value per query head, or empty: the knob of `params` for all

  /// Only methods with `model_state` read these. One state per prompt, from the method; the layers' KV groups
  /// are then planned whole, each once, in order.
  std::shared_ptr<ModelState> state = nullptr;
  int layer = 0;         ///< of the inputs
  int first_q_head = 0;  ///< model index of the inputs' first query head

  /// Parameters of every query head where a calibration chose some of them by head (Method::head_params), or
  /// empty: `params` for all.
  std::vector<Params> head_params = {};

  /// The parameters of one head, apart from the knob.
  const Params& of(int head) const {
    return head_params.empty() ? params : head_params[static_cast<std::size_t>(head)];
  }
  /// The knob of one head.
  double knob(std::string_view knob_name, int head) const {
    return knobs.empty() ? params.real(knob_name) : knobs[static_cast<std::size_t>(head)];
  }
};

/// One sparse attention method: a row of the registry, which the command line, sweeps, bench and reports
/// read. Adding a method on the CPU is one file and one row; README.md says what a planner on the GPU takes.
struct Method {
  std::string name;
  std::string title;  ///< of the paper
  std::string arxiv;  ///< its id
  std::string knob;   ///< the parameter that trades density for recall; empty = none
  std::vector<ParamSpec> params;
  bool knob_descends = false;      ///< a larger knob keeps less
  std::string second_budget = {};  ///< a parameter that searches for a target scale together with the knob
  std::vector<std::string> head_params = {};  ///< parameters that a thresholds file may choose head by head
  /// Its paper halves every head's knob from the default on while the output errs too much; at or below this
  /// value the head becomes dense, knob 0 (tuning/calibration.hpp).
  std::optional<double> calibration_floor = {};

  /// Plans all heads of the inputs. Deterministic; independent of V and of the thread count.
  std::function<SparsePlan(const AttentionInputs&, const PlanRequest&)> plan_cpu;

  /// The plan depends on shapes and parameters alone: plan_cpu looks at the geometry only.
  bool plan_is_static = false;

  /// Methods whose heads depend on other heads and on earlier layers: makes the state of a new prompt. A
  /// request without state plans every head alone, or fails if the parameters need one.
  std::function<std::shared_ptr<ModelState>(const Params&)> model_state = nullptr;

  /// Row oracles list keys row by row: callers plan and execute them this many query rows at a time. 0 =
  /// whole.
  std::int64_t rows_per_plan = 0;

  /// For methods whose plan is a threshold on a score: the granularity of mass they need, and every entry's
  /// critical value for one head of the inputs from its mass. Empty = curves come from replays on a grid.
  std::function<MassGranularity(const Params&, const Geometry&)> granularity;
  std::function<CriticalItems(const AttentionInputs&, int head, const Params&, const MassMap&)> critical_cpu;

  /// Methods whose heads may share a tile, and then one knob: a parameter, and the value with which every
  /// head has a knob of its own.
  std::optional<std::pair<std::string, std::string>> own_knobs = {};

  /// Puts what a value such as "auto" comes to in its place, so that rows say it. Command lines call it.
  std::function<void(Params&)> settle = nullptr;
  /// What `--stats` tells of one head besides what all methods have: names and values for its row.
  std::function<std::map<std::string, double>(const AttentionInputs&, int head, const PlanRequest&)> measure =
      nullptr;
};

/// All methods, in the order in which tools list them.
std::span<const Method> methods();

/// The method of that name; a usage error that names the nearest one otherwise.
const Method& find_method(std::string_view name);

/// The method's defaults. Then `set_param` changes one, checking name, type and range (usage errors).
Params default_params(const Method& method);
void set_param(const Method& method, Params& params, std::string_view name, std::string_view text);

/// Checks a value of a parameter, wherever it comes from: its type, that a number is one (no NaN), whole if
/// it counts, and in range; that a word is one of the choices. Returns what is wrong with it in a few words,
/// such as "must lie in [0, 1]"; empty if nothing is.
std::string check_value(const ParamSpec& spec, const Scalar& value);
/// The parameter's specification; a usage error that names the nearest one if the method has none of that
/// name.
const ParamSpec& find_param(const Method& method, std::string_view name);

/// The entry of `known` closest to `word` by edit distance, for "did you mean" hints; empty if none is close.
std::string nearest(std::string_view word, std::span<const std::string> known);

}  // namespace anchor
