#include "anchor/tuning/head_fit.hpp"

#include <limits>
#include <utility>

namespace anchor {
namespace {

double knob_of(const KnobCurve& curve, double target) { return curve.points.knob[curve.reach(target)]; }

/// Each text's own knob keeps the target there: the one that keeps most keeps it on every text.
double most_of_all(std::span<const TextCurve* const> texts) {
  const KnobCurve& first = texts.front()->curve;
  double value = 0;
  std::pair<double, double> most{-1, 0};
  for (const TextCurve* text : texts) {
    const double knob = knob_of(text->curve, text->target);
    const std::pair reach(first.points.density[first.at(knob)], first.points.descending ? -knob : knob);
    if (reach > most) most = reach, value = knob;
  }
  return value;
}

}  // namespace

double fit_knob(std::span<const TextCurve* const> texts, const FitRule& rule) {
  double value = 0;
  if (rule.on_each_text) {
    value = most_of_all(texts);
  } else {
    std::vector<KnobCurve> curves;
    for (const TextCurve* text : texts) curves.push_back(text->curve);
    value = knob_of(mean_curve(curves), texts.front()->target);
  }
  if (!texts.front()->curve.exact) return value;  // a grid's value, under which its plan was made
  return static_cast<double>(static_cast<float>(value + rule.margin));
}

HeadSetting fit_head(std::span<const VariantCurves> curves, std::span<const HeadVariant> variants,
                     std::span<const std::size_t> fitted, const FitRule& rule) {
  HeadSetting best;
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t v = 0; v < variants.size(); ++v) {
    std::vector<const TextCurve*> texts;
    for (const std::size_t n : fitted) texts.push_back(&curves[v].texts[n]);
    const double knob = fit_knob(texts, rule);
    double cost = variants[v].cost;
    for (const TextCurve* text : texts)
      cost += text->curve.points.density[text->curve.at(knob)] / static_cast<double>(texts.size());
    if (cost < least) least = cost, best = {v, knob};
  }
  return best;
}

}  // namespace anchor
