#include "anchor/experiment/match.hpp"

#include "anchor/base/parallel.hpp"
#include "anchor/experiment/knob_scale.hpp"

namespace anchor {
namespace {

constexpr int most_steps = 24;

}  // namespace

Match match_knob(Engine& engine, const Inputs& inputs, DenseReference& dense, const Method& method,
                 const Params& params, const Target& target) {
  const bool mass = target.metric == "mass_recall";
  const KnobScale scale(method, inputs.geometry());
  const auto try_at = [&](double place) {
    check_interrupt();
    Match one{scale.params_at(params, place), {}, false, 0};
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
