#include "anchor/tuning/head_fit.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

using namespace anchor;

namespace {

/// A step curve with knobs that floats hold; falling if it descends.
KnobCurve random_curve(std::mt19937& random, bool descending) {
  std::uniform_real_distribution<double> step(0, 1);
  KnobCurve curve{{.descending = descending}, true};
  double density = 0.1 * step(random), recall = 0.4 * step(random);
  curve.points.push({descending ? HUGE_VAL : -HUGE_VAL, density, recall});
  double knob = static_cast<double>(random() % 64) / 16;
  for (int n = 0; n < 30; ++n) {
    density += 0.03 * step(random);
    recall += 0.025 * step(random);
    curve.points.push({descending ? -knob : knob, density, recall});
    knob += static_cast<double>(1 + random() % 8) / 16;
  }
  return curve;
}

double recall_at(const KnobCurve& curve, double knob) { return curve.points.mass_recall[curve.at(knob)]; }

/// Every knob at which a curve steps.
std::vector<double> knobs_of(std::span<const TextCurve> texts) {
  std::vector<double> knobs;
  for (const TextCurve& text : texts)
    knobs.insert(knobs.end(), text.curve.points.knob.begin(), text.curve.points.knob.end());
  return knobs;
}

double density_over(std::span<const TextCurve> texts, double knob) {
  double density = 0;
  for (const TextCurve& text : texts)
    density += text.curve.points.density[text.curve.at(knob)] / static_cast<double>(texts.size());
  return density;
}

}  // namespace

TEST_CASE("the fitted knob is the least of all knobs that reaches the target on the mean, or on each text") {
  std::mt19937 random(1);
  int reached = 0;
  for (int run = 0; run < 200; ++run) {
    const bool descending = run % 2;
    std::vector<TextCurve> texts;
    for (int n = 0; n < 1 + run % 3; ++n) texts.push_back({random_curve(random, descending), 0.45});
    std::vector<const TextCurve*> pointers;
    for (const TextCurve& text : texts) pointers.push_back(&text);
    for (const bool each : {false, true}) {
      const double found = fit_knob(pointers, {.on_each_text = each});
      const auto meets = [&](double knob) {
        double mean = 0, least = 1;
        for (const TextCurve& text : texts) {
          mean += recall_at(text.curve, knob) / static_cast<double>(texts.size());
          least = std::min(least, recall_at(text.curve, knob));
        }
        return (each ? least : mean) >= 0.45 - 1e-12;
      };
      double best = INFINITY;
      for (const double knob : knobs_of(texts))
        if (meets(knob)) best = std::min(best, density_over(texts, knob));
      if (std::isinf(best)) continue;  // out of reach
      ++reached;
      CHECK(meets(found));
      CHECK(density_over(texts, found) == doctest::Approx(best).epsilon(1e-12));
    }
  }
  CHECK(reached > 200);
}

TEST_CASE("texts may have targets of their own; a margin is added, and the knob is one that a float holds") {
  std::mt19937 random(2);
  const TextCurve easy{random_curve(random, false), 0.2}, hard{random_curve(random, false), 0.42};
  const std::vector<const TextCurve*> both{&easy, &hard};
  const double knob = fit_knob(both, {.on_each_text = true});
  CHECK(recall_at(easy.curve, knob) >= 0.2);
  CHECK(recall_at(hard.curve, knob) >= 0.42);
  const double wider = fit_knob(both, {.on_each_text = true, .margin = 0.1});
  CHECK(wider == static_cast<double>(static_cast<float>(knob + 0.1)));

  KnobCurve grid{{}, false};  // a grid's values stay what they are
  for (const CurvePoint& point : {CurvePoint{0.3, 0.2, 0.4}, {0.95, 0.5, 0.8}}) grid.points.push(point);
  const TextCurve text{grid, 0.7};
  CHECK(fit_knob(std::vector<const TextCurve*>{&text}, {}) == 0.95);
}

TEST_CASE("of several variants the cheapest on the fitted texts is taken, its price included") {
  std::mt19937 random(3);
  std::size_t second = 0;
  for (int run = 0; run < 100; ++run) {
    std::vector<VariantCurves> curves(2);
    for (VariantCurves& variant : curves)
      for (int n = 0; n < 3; ++n) variant.texts.push_back({random_curve(random, false), 0.4});
    const Params none = default_params(find_method("anchor"));
    const std::vector<HeadVariant> variants{{none, {}, 0}, {none, {}, 0.02}};
    const std::vector<std::size_t> fitted{0, 2};
    const HeadSetting found = fit_head(curves, variants, fitted, {});
    std::vector<double> cost, knobs;
    for (std::size_t v = 0; v < 2; ++v) {
      const std::vector<TextCurve> texts{curves[v].texts[0], curves[v].texts[2]};
      const std::vector<const TextCurve*> pointers{&texts[0], &texts[1]};
      knobs.push_back(fit_knob(pointers, {}));
      cost.push_back(variants[v].cost + density_over(texts, knobs.back()));
    }
    CHECK(found.variant == (cost[1] < cost[0] ? 1 : 0));
    CHECK(found.knob == knobs[found.variant]);
    second += found.variant;
  }
  CHECK(second > 10);
  CHECK(second < 90);
}
