#include "anchor/tuning/stripe_density.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/tail.hpp"
#include "anchor/replay/head_chunk.hpp"

namespace anchor {
namespace {

constexpr std::int64_t sampled_groups = 6;  // per head
constexpr int most_plans = 4;
constexpr double tolerance = 0.01;

/// Stripes of the sampled groups, from which the stripe density at a knob is read.
struct StripeSamples {
  std::vector<std::pair<float, std::int64_t>> entries;  ///< critical value, pairs; ascending
  std::int64_t causal_pairs = 0;

  /// The least knob that reaches a density; infinity if none does.
  double knob_at(double density) const {
    std::int64_t pairs = 0;
    for (const auto& [knob, added] : entries) {
      pairs += added;
      if (static_cast<double>(pairs) >= density * static_cast<double>(causal_pairs))
        return static_cast<double>(knob);
    }
    return std::numeric_limits<double>::infinity();
  }
};

StripeSamples sample_stripes(const KvGroup& layer, const Method& method, const Params& params) {
  const Geometry& g = layer.geometry;
  const MassGranularity granularity = method.granularity(params, g);
  const std::int64_t groups = (g.q_len + granularity.group_rows - 1) / granularity.group_rows;
  const std::int64_t taken = std::min(groups, sampled_groups);
  std::vector<CriticalItems> samples(static_cast<std::size_t>(g.q_heads * taken));
  parallel_for(g.q_heads * taken, [&](std::int64_t n) {
    const std::int64_t group = (2 * (n % taken) + 1) * groups / (2 * taken);
    const std::int64_t begin = group * granularity.group_rows;
    const HeadChunk chunk(layer, static_cast<int>(n / taken), begin,
                          std::min(begin + granularity.group_rows, g.q_len));
    const MassMap no_mass = empty_mass_map(chunk.geometry, granularity);
    const Params own = tail_before(params, begin + chunk.geometry.q_len, g.q_len);
    samples[static_cast<std::size_t>(n)] = method.critical_cpu(chunk.view(), 0, own, no_mass);
  });
  StripeSamples found;
  for (const CriticalItems& items : samples) {
    for (std::size_t i = 0; i < items.knob.size(); ++i)
      found.entries.emplace_back(items.knob[i], items.pairs[i]);
    found.causal_pairs += items.causal_pairs;
  }
  std::sort(found.entries.begin(), found.entries.end());
  return found;
}

}  // namespace

bool selects_stripes(const Method& method, const Params& params, const Geometry& geometry) {
  return method.critical_cpu && method.granularity(params, geometry).block_keys == 0;
}

namespace {
PlanStats sum_of(const std::vector<PlanStats>& heads) {
  PlanStats sum;
  for (const PlanStats& head : heads) sum += head;
  return sum;
}
}  // namespace

PlanStats layer_stats(const SparsePlan& plan) {
  std::vector<PlanStats> heads(static_cast<std::size_t>(plan.geometry.q_heads));
  parallel_for(plan.geometry.q_heads, [&](std::int64_t head) {
    heads[static_cast<std::size_t>(head)] = plan_stats(plan, static_cast<int>(head));
  });
  return sum_of(heads);
}

FoundKnob knob_for_stripe_density(Engine& engine, const Inputs& inputs, const KvGroup& layer,
                                  const Method& method, const Params& params, double target) {
  if (!selects_stripes(method, params, layer.geometry))
    fail_usage("--stripe-density: {} does not select stripes by a threshold", method.name);
  const StripeSamples samples = sample_stripes(layer, method, params);
  FoundKnob best{.knob = 0, .stripe_density = std::numeric_limits<double>::infinity()};
  double wanted = target;  // of the samples
  for (int n = 0; n < most_plans; ++n) {
    PlanRequest request{params, {}};
    const double knob = samples.knob_at(wanted);
    request.params.set(method.knob, knob);
    const PlanHandle plan = engine.plan(method, request, inputs, 0, layer.geometry.q_len);
    const double density = sum_of(engine.stats(*plan)).stripe_density();
    if (std::abs(density - target) < std::abs(best.stripe_density - target)) best = {knob, density};
    if (std::abs(density - target) <= tolerance * target) break;
    wanted = density > 0 ? wanted * target / density : wanted * 2;
  }
  return best;
}

}  // namespace anchor
