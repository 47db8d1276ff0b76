#include "anchor/tuning/bounded_error.hpp"

#include <algorithm>

#include "anchor/tuning/error_search.hpp"
#include "anchor/tuning/head_sweep.hpp"

namespace anchor {

std::vector<double> recall_for_error(Engine& engine, const Inputs& inputs, const Method& method,
                                     const Params& params, std::span<const int> heads,
                                     std::span<const KnobCurve> curves, DenseReference& dense, double recall,
                                     double max_error) {
  constexpr int most_runs = 9;
  std::vector<ErrorSearch> searches;
  std::vector<double> knobs, needed(heads.size(), recall);
  for (const KnobCurve& curve : curves) {
    searches.emplace_back(curve.points, std::vector<double>{max_error});
    knobs.push_back(curve.points.knob[curve.reach(recall)]);
  }
  std::vector<bool> open(heads.size(), true);
  for (int n = 0; n < most_runs && std::ranges::find(open, true) != open.end(); ++n) {
    const auto runs = measure_heads(engine, inputs, method, params, heads, knobs, dense);
    for (std::size_t h = 0; h < heads.size(); ++h) {
      if (!open[h]) continue;
      const HeadAt run = HeadAt::of(knobs[h], runs[h]);
      searches[h].add(run);
      const auto next = n == 0 && *run.out_rel_l2 <= max_error ? std::nullopt : searches[h].next();
      open[h] = next.has_value();
      knobs[h] = next.value_or(knobs[h]);
    }
  }
  for (std::size_t h = 0; h < heads.size(); ++h) {
    const auto& runs = searches[h].runs();
    if (runs.size() == 1 && *runs[0].out_rel_l2 <= max_error) continue;
    const auto found =
        std::ranges::find_if(runs, [&](const HeadAt& run) { return *run.out_rel_l2 <= max_error; });
    const HeadAt& chosen = found == runs.end() ? runs.back() : *found;
    needed[h] = std::max(recall, curves[h].points.mass_recall[curves[h].at(chosen.knob)]);
  }
  return needed;
}

}  // namespace anchor
