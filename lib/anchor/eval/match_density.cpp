#include "anchor/eval/match_density.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"

namespace anchor {
namespace {

constexpr int most_steps = 16;
constexpr double close_enough = 0.01;  // of the target
constexpr double infinity = std::numeric_limits<double>::infinity();

/// Where the heads of a layer start that need nothing but what is forced.
double least_finite(const std::vector<double>& knobs, double otherwise) {
  double least = infinity;
  for (const double knob : knobs)
    if (std::isfinite(knob)) least = std::min(least, knob);
  return std::isfinite(least) ? least : otherwise;
}

}  // namespace

MethodAttention::ChooseHeads moved_heads(const Method& method, const KnobScale& scale,
                                         MethodAttention::ChooseHeads choose, double shift) {
  return [&method, scale, choose = std::move(choose), shift](PlanRequest& request) {
    choose(request);
    const double least = least_finite(request.knobs, request.params.real(method.knob));
    for (double& knob : request.knobs) {
      const double start = knob == -infinity ? least : knob;
      knob = scale.knob(std::clamp(scale.place(start) + shift, 0., 1.));
    }
  };
}

MatchedRun match_density(const MethodRun& run, const MethodAttention::ChooseHeads& choose,
                         std::int64_t tokens, double target, const DensityOf& density_of) {
  const KnobScale scale(*run.method, Geometry{.q_len = tokens, .kv_len = tokens});
  const auto try_at = [&](double place) {
    MatchedRun one{run.params, {}, choose ? place : scale.knob(place)};
    if (choose) {
      one.choose = moved_heads(*run.method, scale, choose, place);
    } else {
      one.params = scale.params_at(run.params, place);
    }
    one.density = density_of(one.params, one.choose);
    return one;
  };
  double low = choose ? -1 : 0, high = 1;
  const MatchedRun least = try_at(low), most = try_at(high);
  const auto away = [&](const MatchedRun& one) { return std::abs(one.density - target); };
  MatchedRun best = away(least) < away(most) ? least : most;
  if (away(best) > close_enough * target && (target < least.density || target > most.density))
    fail("no knob of {} gives a density of {}: they give {:.4f} to {:.4f} here", run.method->name,
         format_number(target), least.density, most.density);
  for (int step = 0; step < most_steps && away(best) > close_enough * target; ++step) {
    const double middle = (low + high) / 2;
    MatchedRun one = try_at(middle);
    (one.density < target ? low : high) = middle;
    if (away(one) < away(best)) best = std::move(one);
  }
  return best;
}

}  // namespace anchor
