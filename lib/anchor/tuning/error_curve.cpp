#include "anchor/tuning/error_curve.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/tuning/head_sweep.hpp"

namespace anchor {
namespace {

constexpr int most_runs = 12;

}  // namespace

double error_near(std::span<const HeadAt> runs, double recall) {
  const auto after =
      std::find_if(runs.begin(), runs.end(), [&](const HeadAt& run) { return run.mass_recall >= recall; });
  const auto log_error = [](const HeadAt& run) { return log_loss(*run.out_rel_l2); };
  const double lost = log_loss(1 - recall);
  if (after == runs.begin() || after == runs.end()) {  // beyond them: in proportion to what is lost
    const HeadAt& end = after == runs.end() ? runs.back() : runs.front();
    return std::exp(log_error(end) + lost - log_loss(1 - end.mass_recall));
  }
  const HeadAt& before = *std::prev(after);
  const double from = log_loss(1 - before.mass_recall), to = log_loss(1 - after->mass_recall);
  const double share = from == to ? 1 : (from - lost) / (from - to);
  return std::exp(std::lerp(log_error(before), log_error(*after), share));
}

double ErrorCurve::error(double knob) const {
  if (!exact()) {
    const auto run = std::ranges::find(runs_, knob, &HeadAt::knob);
    if (run == runs_.end()) fail("no plan was run at {}", knob);
    return *run->out_rel_l2;
  }
  const double recall = curve_.points.mass_recall[curve_.at(knob)];
  return error_near(runs_, std::clamp(recall, runs_.front().mass_recall, runs_.back().mass_recall));
}

namespace {

/// All knobs of curves that have nothing between them.
std::vector<ErrorCurve> errors_on_grid(Engine& engine, const Inputs& inputs, const Method& method,
                                       const Params& params, std::span<const int> heads,
                                       std::span<const KnobCurve> curves, DenseReference& dense) {
  std::vector<std::vector<HeadAt>> runs(heads.size());
  for (const double knob : curves[0].points.knob) {
    const std::vector<double> knobs(heads.size(), knob);
    const auto replays = measure_heads(engine, inputs, method, params, heads, knobs, dense);
    for (std::size_t h = 0; h < heads.size(); ++h) runs[h].push_back(HeadAt::of(knob, replays[h]));
  }
  std::vector<ErrorCurve> found;
  for (std::size_t h = 0; h < heads.size(); ++h) {
    std::ranges::stable_sort(runs[h], {}, &HeadAt::density);
    found.emplace_back(curves[h], std::move(runs[h]));
  }
  return found;
}

}  // namespace

std::vector<ErrorCurve> error_curves(Engine& engine, const Inputs& inputs, const Method& method,
                                     const Params& params, std::span<const int> heads,
                                     std::span<const KnobCurve> curves, DenseReference& dense,
                                     double wanted) {
  if (!curves.empty() && !curves[0].exact)
    return errors_on_grid(engine, inputs, method, params, heads, curves, dense);
  std::vector<std::vector<HeadAt>> runs(heads.size());
  std::vector<std::size_t> at(heads.size(), 0);
  const auto steps = [&](std::size_t h) -> const Curve& { return curves[h].points; };
  for (int n = 0; n < most_runs; ++n) {
    std::vector<double> knobs;
    for (std::size_t h = 0; h < heads.size(); ++h) knobs.push_back(steps(h).knob[at[h]]);
    const auto replays = measure_heads(engine, inputs, method, params, heads, knobs, dense);
    bool open = false;
    for (std::size_t h = 0; h < heads.size(); ++h) {
      HeadAt run = HeadAt::of(knobs[h], replays[h]);
      run.mass_recall = steps(h).mass_recall[at[h]];
      run.density = steps(h).density[at[h]];
      const bool more = at[h] + 1 < steps(h).size() && *run.out_rel_l2 > wanted / 10;
      if (runs[h].empty() || runs[h].back().knob != run.knob) runs[h].push_back(run);
      if (!more) continue;
      open = true;
      const bool last = n + 2 == most_runs;  // ends where everything is kept
      const std::size_t next =
          last ? steps(h).size() - 1 : steps(h).least(1 - (1 - run.mass_recall) / 2).value_or(at[h] + 1);
      at[h] = std::max(next, at[h] + 1);
    }
    if (!open) break;
  }
  std::vector<ErrorCurve> found;
  for (std::size_t h = 0; h < heads.size(); ++h) found.emplace_back(curves[h], std::move(runs[h]));
  return found;
}

}  // namespace anchor
