#include "anchor/tuning/match.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/tuning/knob_scale.hpp"

namespace anchor {
namespace {

constexpr int most_steps = 24;

/// Heads without a knob, whose forced entries were enough, start where the most frugal of the others does.
void lift(std::vector<double>& knobs) {
  double least = std::numeric_limits<double>::infinity();
  for (const double knob : knobs)
    if (std::isfinite(knob)) least = std::min(least, knob);
  for (double& knob : knobs)
    if (knob == -std::numeric_limits<double>::infinity()) knob = std::isfinite(least) ? least : 0;
}

}  // namespace

Match match_knob(Engine& engine, const Inputs& inputs, DenseReference& dense, const Method& method,
                 const PlanRequest& request, const Target& target) {
  const bool mass = target.metric == "mass_recall";
  const KnobScale scale(method, inputs.geometry());
  if (!request.knobs.empty() && !scale.additive())
    fail_usage("knobs of single heads can only be moved together where they are thresholds on scores, not {}",
               method.knob);
  PlanRequest start = request;
  lift(start.knobs);
  const auto try_at = [&](double place) {
    check_interrupt();
    Match one{start, scale.knob(place), {}, false, 0};
    if (request.knobs.empty()) one.request.params = scale.params_at(request.params, place);
    for (double& knob : one.request.knobs) knob += one.knob;
    const PlanHandle plan = engine.plan(method, one.request, inputs, 0, inputs.geometry().q_len);
    one.kept = dense.compare(*plan);
    one.met = mass ? one.kept.mass_recall >= target.value : one.kept.out_rel_l2 <= target.value;
    return one;
  };
  const auto close = [&](const Match& m) {
    return m.met && (mass ? m.kept.mass_recall <= target.value + 1e-3 * target.value
                          : m.kept.out_rel_l2 >= 0.98 * target.value);
  };
  Match best = try_at(1);
  int plans = 1;
  double low = 0, high = 1;
  while (best.met && !close(best) && plans < most_steps) {
    const double middle = (low + high) / 2;
    if (scale.knob(middle) == scale.knob(high) || (low > 0 && scale.knob(middle) == scale.knob(low))) break;
    const Match one = try_at(middle);
    ++plans;
    if (one.met)
      best = one, high = middle;
    else
      low = middle;
  }
  best.plans = plans;
  return best;
}

}  // namespace anchor
