#include "anchor/experiment/match.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

constexpr int most_steps = 24;

/// Knob values on a scale that a search can halve: 0 keeps least, 1 most.
class KnobScale {
 public:
  KnobScale(const Method& method, const Geometry& geometry) : descends_(method.knob_descends) {
    const auto spec = std::find_if(method.params.begin(), method.params.end(),
                                   [&](const ParamSpec& s) { return s.name == method.knob; });
    whole_ = spec->kind == ParamSpec::Kind::integer;
    low_ = std::max(spec->minimum, -unbounded), high_ = std::min(spec->maximum, unbounded);
    logarithmic_ = whole_ || (spec->minimum == 0 && std::isinf(spec->maximum));
    if (logarithmic_) low_ = whole_ ? std::max(spec->minimum, 1.) : 1e-6;
    if (whole_) high_ = std::min(spec->maximum, static_cast<double>(geometry.kv_len));
  }

  double knob(double place) const {
    if (descends_) place = 1 - place;
    const double value = logarithmic_ ? low_ * std::pow(high_ / low_, place) : low_ + (high_ - low_) * place;
    return whole_ ? std::clamp(std::round(value), low_, high_) : value;
  }

 private:
  static constexpr double unbounded = 64;  // thresholds on scores, natural-log units
  bool descends_, whole_ = false, logarithmic_ = false;
  double low_ = 0, high_ = 0;
};

}  // namespace

Match match_knob(Engine& engine, const Inputs& inputs, DenseReference& dense, const Method& method,
                 const Params& params, const Target& target) {
  if (method.knob.empty()) fail_usage("method {} has no knob that could meet a target", method.name);
  const bool mass = target.metric == "mass_recall";
  const KnobScale scale(method, inputs.geometry());
  const double second =
      method.second_budget.empty() ? 0 : params.real(method.second_budget) / params.real(method.knob);
  const auto try_at = [&](double place) {
    check_interrupt();
    Match one{params, {}, false, 0};
    const double knob = scale.knob(place);
    one.params.set(method.knob, knob);
    if (second > 0) one.params.set(method.second_budget, std::max(1., std::round(knob * second)));
    const PlanHandle plan = engine.plan(method, {one.params, {}}, inputs, 0, inputs.geometry().q_len);
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
