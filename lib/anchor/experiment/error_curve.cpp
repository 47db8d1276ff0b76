#include "anchor/experiment/error_curve.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/experiment/head_sweep.hpp"

namespace anchor {
namespace {

constexpr double least_lost = 1e-7;   // recall is a sum of floats
constexpr double least_error = 1e-6;  // of a plan that keeps everything
constexpr int most_runs = 12;

double lost(double recall) { return std::max(1 - recall, least_lost); }

}  // namespace

double ErrorCurve::error(double knob) const {
  const double here = lost(curve_.points.mass_recall[curve_.at(knob)]);
  const auto after = std::find_if(runs_.begin(), runs_.end(),
                                  [&](const FrontPoint& run) { return lost(run.mass_recall) <= here; });
  if (after == runs_.end()) return *runs_.back().out_rel_l2;
  if (after == runs_.begin()) return *after->out_rel_l2;
  const FrontPoint &a = *std::prev(after), &b = *after;
  const double share =
      std::log(lost(a.mass_recall) / here) / std::log(lost(a.mass_recall) / lost(b.mass_recall));
  const auto log_error = [](const FrontPoint& run) {
    return std::log(std::max(*run.out_rel_l2, least_error));
  };
  return std::exp(std::lerp(log_error(a), log_error(b), share));
}

std::vector<ErrorCurve> error_curves(Engine& engine, const Inputs& inputs, const Method& method,
                                     const Params& params, std::span<const int> heads,
                                     std::span<const KnobCurve> curves, DenseReference& dense,
                                     double wanted) {
  std::vector<std::vector<FrontPoint>> runs(heads.size());
  std::vector<std::size_t> at(heads.size(), 0);
  const auto steps = [&](std::size_t h) -> const Curve& { return curves[h].points; };
  for (int n = 0; n < most_runs; ++n) {
    std::vector<double> knobs;
    for (std::size_t h = 0; h < heads.size(); ++h) knobs.push_back(steps(h).knob[at[h]]);
    const auto replays = measure_heads(engine, inputs, method, params, heads, knobs, dense);
    bool open = false;
    for (std::size_t h = 0; h < heads.size(); ++h) {
      FrontPoint run = FrontPoint::of(knobs[h], replays[h]);
      run.mass_recall = steps(h).mass_recall[at[h]];
      run.density = steps(h).density[at[h]];
      const bool more = at[h] + 1 < steps(h).size() && *run.out_rel_l2 > wanted / 10;
      if (runs[h].empty() || runs[h].back().knob != run.knob) runs[h].push_back(run);
      if (!more) continue;
      open = true;
      const bool last = n + 2 == most_runs;  // ends where everything is kept
      const std::size_t next =
          last ? steps(h).size() - 1 : steps(h).least(1 - lost(run.mass_recall) / 2).value_or(at[h] + 1);
      at[h] = std::max(next, at[h] + 1);
    }
    if (!open) break;
  }
  std::vector<ErrorCurve> found;
  for (std::size_t h = 0; h < heads.size(); ++h) found.emplace_back(curves[h], std::move(runs[h]));
  return found;
}

}  // namespace anchor
