#include "anchor/tuning/knob_curve.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/replay/replay.hpp"

namespace anchor {
namespace {

constexpr std::size_t many_points = 1 << 20;

void push(Curve& curve, double knob, double density, double recall) {
  curve.knob.push_back(knob);
  curve.density.push_back(density);
  curve.mass_recall.push_back(recall);
}

}  // namespace

std::optional<std::size_t> KnobCurve::least(double target_recall) const {
  if (exact) return points.least(target_recall);
  std::optional<std::size_t> best;
  for (std::size_t n = 0; n < size(); ++n) {
    if (points.mass_recall[n] >= target_recall && (!best || points.density[n] < points.density[*best]))
      best = n;
  }
  return best;
}

std::size_t KnobCurve::densest() const {
  return static_cast<std::size_t>(std::max_element(points.density.begin(), points.density.end()) -
                                  points.density.begin());
}

std::size_t KnobCurve::at(double knob) const {
  if (exact) return points.at(knob);
  const auto found = std::find(points.knob.begin(), points.knob.end(), knob);
  if (found == points.knob.end()) fail("the grid has no point at {}", knob);
  return static_cast<std::size_t>(found - points.knob.begin());
}

KnobCurve mean_curve(std::span<const KnobCurve> curves, std::span<const double> weights) {
  if (curves[0].exact) {
    std::vector<Curve> steps;
    for (const KnobCurve& curve : curves) steps.push_back(curve.points);
    return {mean_curve(std::span<const Curve>(steps), weights), true};
  }
  KnobCurve mean{{}, false};
  for (std::size_t n = 0; n < curves[0].size(); ++n) {
    double density = 0, recall = 0, count = 0;
    for (std::size_t c = 0; c < curves.size(); ++c) {
      const double weight = weights.empty() ? 1 : weights[c];
      const std::size_t at = curves[c].at(curves[0].points.knob[n]);
      density += weight * curves[c].points.density[at];
      recall += weight * curves[c].points.mass_recall[at];
      count += weight;
    }
    push(mean.points, curves[0].points.knob[n], density / count, recall / count);
  }
  return mean;
}

std::vector<KnobCurve> knob_curves(Engine& engine, const Inputs& inputs, const Method& method,
                                   const Params& params, std::span<const double> grid,
                                   std::span<const int> heads) {
  std::vector<KnobCurve> curves;
  if (method.granularity) {
    engine.curves(method, params, inputs, heads, [&](const HeadCurve& curve) {
      curves.push_back({curve.size() > many_points ? curve.binned() : curve.full(), true});
    });
    return curves;
  }
  curves.assign(heads.size(), {{}, false});
  const auto dense = engine.dense_reference(inputs);
  for (const double knob : grid) {
    PlanRequest request{params, {}};
    request.params.set(method.knob, knob);
    const Replay result = replay(engine, inputs, method, request, *dense);
    for (std::size_t n = 0; n < heads.size(); ++n) {
      const HeadReplay& head = result.heads[static_cast<std::size_t>(heads[n])];
      push(curves[n].points, knob, head.stats.density(), head.recall.mean);
    }
  }
  return curves;
}

CurvePoints curve_points(const KnobCurve& curve) {
  std::vector<std::size_t> order(curve.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (!curve.exact) {
    std::stable_sort(order.begin(), order.end(),
                     [&](auto a, auto b) { return curve.points.density[a] < curve.points.density[b]; });
  }
  CurvePoints points;
  for (const std::size_t n : order) {
    points.knob.push_back(curve.points.knob[n]);
    points.density.push_back(curve.points.density[n]);
    points.mass_recall.push_back(curve.points.mass_recall[n]);
  }
  return points;
}

KnobCurve curve_of(const CurvePoints& points, bool exact) {
  KnobCurve read{{points.knob, points.density, points.mass_recall}, exact};
  const std::vector<double>& knob = read.points.knob;
  // An exact curve of one point says where it starts.
  read.points.descending = !knob.empty() && (knob.back() < knob.front() || (exact && knob[0] == HUGE_VAL));
  return read;
}

}  // namespace anchor
