#include "anchor/tuning/layer_sweep.hpp"

#include <algorithm>

namespace anchor {

std::size_t best_run(std::span<const CurvePoint> found, double target_recall) {
  const auto better = [&](const CurvePoint& a, const CurvePoint& b) {
    const bool reached = a.mass_recall >= target_recall;
    if (reached != (b.mass_recall >= target_recall)) return reached;
    return reached ? a.density < b.density : a.mass_recall > b.mass_recall;
  };
  return static_cast<std::size_t>(std::ranges::min_element(found, better) - found.begin());
}

LayerSweep::LayerSweep(const SweepRequest& request, std::span<const MethodRun> runs, std::size_t heads)
    : request_(request), runs_(runs), steps_(runs.size(), std::vector<KnobCurve>(heads)) {
  means_.resize(runs.size());
}

std::vector<GroupSweep> LayerSweep::sweep(Engine& engine, const Inputs& inputs, std::span<const int> heads,
                                          std::size_t first) {
  std::vector<GroupSweep> found;
  std::unique_ptr<DenseReference> dense;
  for (const MethodRun& run : runs_)
    found.push_back(sweep_group(engine, inputs, *run.method, run.params, request_, heads, dense));
  for (std::size_t n = 0; n < runs_.size(); ++n)
    for (std::size_t h = 0; h < heads.size(); ++h) steps_[n][first + h] = std::move(found[n].heads[h].steps);
  return found;
}

void LayerSweep::add_to_means(std::size_t first, std::size_t count) {
  for (std::size_t n = 0; n < runs_.size(); ++n) {
    for (std::size_t at = first; at < first + count; ++at) {
      complete_ = complete_ && steps_[n][at].size() > 0;
      if (!runs_[n].method->granularity || steps_[n][at].size() == 0) continue;  // grids are few points
      if (!means_[n]) means_[n] = std::make_unique<GlobalCurve>();
      means_[n]->add(steps_[n][at].points);
      steps_[n][at] = {};
    }
  }
}

std::optional<KnobCurve> LayerSweep::mean(std::size_t run) const {
  if (!complete_) return {};
  if (means_[run]) return KnobCurve{thin(means_[run]->mean()), true};
  return mean_curve(steps_[run]);
}

}  // namespace anchor
