#include "sweep/error_front.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "anchor/tuning/allocation.hpp"

namespace anchor::sweep {
namespace {

/// Knobs to choose from: those whose plans were run on any text, and some between neighbours.
std::vector<double> knobs_between_runs(const std::vector<const ErrorCurve*>& texts) {
  constexpr int parts = 8;
  std::vector<double> run, knobs;
  for (const ErrorCurve* curve : texts)
    for (const HeadAt& point : curve->runs()) run.push_back(point.knob);
  std::sort(run.begin(), run.end());
  for (std::size_t n = 0; n < run.size(); ++n) {
    knobs.push_back(run[n]);
    if (n + 1 == run.size() || !std::isfinite(run[n]) || !std::isfinite(run[n + 1])) continue;
    for (int part = 1; part < parts; ++part)
      knobs.push_back(std::lerp(run[n], run[n + 1], part / static_cast<double>(parts)));
  }
  for (double& knob : knobs) knob = static_cast<double>(static_cast<float>(knob));  // as planners compare
  return knobs;
}

}  // namespace

ErrorFront error_front(const std::vector<HeadVariant>& variants,
                       const std::vector<std::vector<const ErrorCurve*>>& curves, bool worst) {
  ErrorFront found;
  std::vector<CurvePoint> points;
  for (std::size_t v = 0; v < variants.size(); ++v) {
    const auto count = static_cast<double>(curves[v].size());
    for (const double knob : knobs_between_runs(curves[v])) {
      double density = 0, mean = 0, largest = 0;
      for (const ErrorCurve* text : curves[v]) {
        density += text->density(knob) / count;
        mean += text->error(knob) / count;
        largest = std::max(largest, text->error(knob));
      }
      points.push_back({static_cast<double>(found.settings.size()), density + variants[v].cost,
                        1 - (worst ? largest : mean)});
      found.settings.push_back({v, knob});
    }
  }
  std::stable_sort(points.begin(), points.end(), [](const CurvePoint& a, const CurvePoint& b) {
    return a.density != b.density ? a.density < b.density : a.mass_recall > b.mass_recall;
  });
  Curve all;
  for (const CurvePoint& point : points)
    if (all.size() == 0 || point.mass_recall > all.mass_recall.back()) all.push(point);
  found.front = convex_front(all, -1);
  return found;
}

}  // namespace anchor::sweep
