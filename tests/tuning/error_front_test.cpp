#include "anchor/tuning/error_front.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

using namespace anchor;

namespace {

/// A curve whose plans were run at some of its steps.
ErrorCurve random_errors(std::mt19937& random) {
  std::uniform_real_distribution<double> step(0, 1);
  KnobCurve curve;
  std::vector<HeadAt> runs;
  double density = 0.1 * step(random), recall = 0.4 * step(random), error = 0.5 + step(random);
  for (int n = 0; n < 12; ++n) {
    curve.points.push({n == 0 ? -HUGE_VAL : n, density, recall});
    if (n % 3 == 0)
      runs.push_back({.knob = curve.points.knob[std::size_t(n)],
                      .density = density,
                      .mass_recall = recall,
                      .out_rel_l2 = error});
    density += 0.05 * step(random);
    recall += 0.04 * step(random);
    error *= 0.7;
  }
  return {curve, runs};
}

struct Priced {
  double density, error;
};

/// What a setting costs and errs, by the definition.
Priced price(const HeadSetting& setting, const std::vector<VariantErrors>& variants, bool worst) {
  const VariantErrors& variant = variants[setting.variant];
  Priced made{variant.cost, 0};
  for (const ErrorCurve* text : variant.texts) {
    const auto count = static_cast<double>(variant.texts.size());
    made.density += text->density(setting.knob) / count;
    made.error = worst ? std::max(made.error, text->error(setting.knob))
                       : made.error + text->error(setting.knob) / count;
  }
  return made;
}

}  // namespace

TEST_CASE("a front's settings cost and gain what their curves say, and no run plan lies above it") {
  std::mt19937 random(3);
  for (int run = 0; run < 40; ++run) {
    std::vector<ErrorCurve> curves;
    for (int n = 0; n < 4; ++n) curves.push_back(random_errors(random));
    const std::vector<VariantErrors> variants{{0, {&curves[0], &curves[1]}},
                                              {0.03, {&curves[2], &curves[3]}}};
    for (const bool worst : {false, true}) {
      const ErrorFront front = error_front(variants, worst);
      REQUIRE(!front.settings.empty());
      REQUIRE(front.view().size() == front.settings.size());
      for (std::size_t n = 0; n < front.settings.size(); ++n) {
        const Priced expected = price(front.settings[n], variants, worst);
        CHECK(front.density[n] == doctest::Approx(expected.density).epsilon(1e-12));
        CHECK(1 - front.gain[n] == doctest::Approx(expected.error).epsilon(1e-9));
        if (n > 0) CHECK(front.density[n] > front.density[n - 1]);
        if (n > 0) CHECK(front.gain[n] > front.gain[n - 1]);
      }
      for (std::size_t v = 0; v < variants.size(); ++v) {
        for (const ErrorCurve* text : variants[v].texts) {
          for (const HeadAt& plan : text->runs()) {
            const Priced other = price({v, plan.knob}, variants, worst);
            for (std::size_t n = 0; n + 1 < front.settings.size(); ++n) {
              if (other.density < front.density[n] || other.density > front.density[n + 1]) continue;
              const double share =
                  (other.density - front.density[n]) / (front.density[n + 1] - front.density[n]);
              CHECK(1 - other.error <= std::lerp(front.gain[n], front.gain[n + 1], share) + 1e-9);
            }
          }
        }
      }
    }
  }
}

TEST_CASE(
    "allocated settings err by the goal on the mean at less density than the nearest ones that each head "
    "needs") {
  std::mt19937 random(5);
  std::vector<ErrorCurve> curves;
  for (int n = 0; n < 60; ++n) curves.push_back(random_errors(random));
  std::vector<ErrorFront> heads;
  std::vector<Front> fronts;
  for (const ErrorCurve& curve : curves) heads.push_back(error_front({{0, {&curve}}}, false));
  for (const ErrorFront& head : heads) fronts.push_back(head.view());
  const double goal = 0.15;
  const Allocation found = allocate_for_gain(fronts, 1 - goal);
  double error = 0, density = 0, each = 0;
  for (std::size_t h = 0; h < heads.size(); ++h) {
    const HeadSetting& setting = heads[h].settings[found.point[h]];
    error += curves[h].error(setting.knob) / 60;
    density += curves[h].density(setting.knob) / 60;
    std::size_t own = 0;
    while (own + 1 < heads[h].gain.size() && heads[h].gain[own] < 1 - goal) ++own;
    each += heads[h].density[own] / 60;
  }
  CHECK(error <= goal + 1e-9);
  CHECK(density < each);
}
