#include "anchor/tuning/error_front.hpp"

#include <algorithm>
#include <cmath>

namespace anchor {
namespace {

/// Knobs to choose from: those whose plans were run on any text, and some between neighbours where curves are
/// exact.
std::vector<double> knobs_between_runs(const std::vector<const ErrorCurve*>& texts) {
  constexpr int parts = 8;
  const bool exact = texts[0]->exact();
  std::vector<double> run, knobs;
  for (const ErrorCurve* curve : texts)
    for (const HeadAt& point : curve->runs()) run.push_back(point.knob);
  std::sort(run.begin(), run.end());
  for (std::size_t n = 0; n < run.size(); ++n) {
    knobs.push_back(run[n]);
    if (!exact) continue;
    if (n + 1 == run.size() || !std::isfinite(run[n]) || !std::isfinite(run[n + 1])) continue;
    for (int part = 1; part < parts; ++part)
      knobs.push_back(std::lerp(run[n], run[n + 1], part / static_cast<double>(parts)));
  }
  if (!exact) return knobs;
  for (double& knob : knobs) knob = static_cast<double>(static_cast<float>(knob));  // as planners compare
  return knobs;
}

/// A setting, what it costs and what it gains.
struct PricedSetting {
  HeadSetting setting;
  double density, gain;
};

/// Every setting to choose from, by variant.
std::vector<PricedSetting> priced_settings(const std::vector<VariantErrors>& variants, bool worst) {
  std::vector<PricedSetting> priced;
  for (std::size_t v = 0; v < variants.size(); ++v) {
    const auto count = static_cast<double>(variants[v].texts.size());
    for (const double knob : knobs_between_runs(variants[v].texts)) {
      double density = 0, mean = 0, largest = 0;
      for (const ErrorCurve* text : variants[v].texts) {
        density += text->density(knob) / count;
        mean += text->error(knob) / count;
        largest = std::max(largest, text->error(knob));
      }
      priced.push_back({{v, knob}, density + variants[v].cost, 1 - (worst ? largest : mean)});
    }
  }
  return priced;
}

}  // namespace

ErrorFront error_front(const std::vector<VariantErrors>& variants, bool worst) {
  std::vector<PricedSetting> priced = priced_settings(variants, worst);
  std::stable_sort(priced.begin(), priced.end(), [](const PricedSetting& a, const PricedSetting& b) {
    return a.density != b.density ? a.density < b.density : a.gain > b.gain;
  });
  ErrorFront all;  // without settings that cost more and gain no more
  const auto push = [](ErrorFront& to, const PricedSetting& one) {
    to.settings.push_back(one.setting);
    to.density.push_back(one.density);
    to.gain.push_back(one.gain);
  };
  for (const PricedSetting& one : priced)
    if (all.gain.empty() || one.gain > all.gain.back()) push(all, one);
  ErrorFront front;
  for (const std::size_t n : convex_front(all.view(), all.gain.front()))
    push(front, {all.settings[n], all.density[n], all.gain[n]});
  return front;
}

}  // namespace anchor
