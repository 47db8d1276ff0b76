#include "anchor/tuning/global_curve.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

using namespace anchor;

namespace {

/// A random step curve; its knobs rise, or fall if it descends.
Curve random_curve(std::mt19937& random, bool descending) {
  std::uniform_real_distribution<double> step(0, 1);
  Curve curve{.descending = descending};
  std::vector<double> knobs;
  for (int n = 0; n < 40; ++n)
    knobs.push_back(static_cast<double>(static_cast<float>(20 * step(random) - 5)));
  std::sort(knobs.begin(), knobs.end());
  if (descending) std::reverse(knobs.begin(), knobs.end());
  double density = 0.1 * step(random), recall = 0.3 * step(random);
  curve.push({descending ? HUGE_VAL : -HUGE_VAL, density, recall});
  for (const double knob : knobs) {
    density += 0.02 * step(random);
    recall += 0.015 * step(random);
    curve.push({knob, density, recall});
  }
  return curve;
}

}  // namespace

TEST_CASE("at its own points the global curve is the mean over the heads, and its thresholds are close") {
  std::mt19937 random(1);
  for (const bool descending : {false, true}) {
    std::vector<Curve> heads;
    GlobalCurve global;
    CHECK(global.mean().size() == 0);
    for (int h = 0; h < 7; ++h) {
      heads.push_back(random_curve(random, descending));
      global.add(heads.back());
    }
    CHECK(global.heads() == 7);
    const Curve mean = global.mean(), exact = mean_curve(heads);
    REQUIRE(mean.size() > 100);
    CHECK(mean.descending == descending);
    for (std::size_t n = 0; n < mean.size(); ++n) {
      double density = 0, recall = 0;
      for (const Curve& head : heads) {
        density += head.density[head.at(mean.knob[n])] / 7;
        recall += head.mass_recall[head.at(mean.knob[n])] / 7;
      }
      CHECK(mean.density[n] == doctest::Approx(density).epsilon(1e-9));
      CHECK(mean.mass_recall[n] == doctest::Approx(recall).epsilon(1e-9));
    }
    for (const double target : {0.2, 0.3, 0.4}) {
      const auto found = mean.least(target), least = exact.least(target);
      REQUIRE(found.has_value() == least.has_value());
      if (!found || *least == 0) continue;
      const double knob = mean.knob[*found], best = exact.knob[*least];
      CHECK(mean.mass_recall[*found] >= target);
      CHECK((descending ? knob <= best : knob >= best));  // on the safe side
      CHECK(std::abs(knob - best) <= std::abs(best) / 4000);
    }
  }
}
