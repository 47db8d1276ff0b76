#include "anchor/tuning/allocation.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

using namespace anchor;

namespace {

/// A random step curve: not concave, with flat and steep pieces.
Curve random_curve(std::mt19937& random, int points) {
  std::uniform_real_distribution<double> step(0, 1);
  Curve curve;
  double density = 0.1 * step(random), recall = 0.5 * step(random);
  for (int n = 0; n < points; ++n) {
    curve.push({n == 0 ? -HUGE_VAL : n, density, recall});
    density += 0.2 * std::pow(step(random), 3);
    recall = std::min(1., recall + 0.3 * std::pow(step(random), 2));
  }
  return curve;
}

/// Every combination of points.
void each_choice(const std::vector<Curve>& curves,
                 const std::function<void(double density, double recall, double least)>& use) {
  std::vector<std::size_t> at(curves.size(), 0);
  const auto heads = static_cast<double>(curves.size());
  while (true) {
    double density = 0, recall = 0, least = 1;
    for (std::size_t h = 0; h < curves.size(); ++h) {
      density += curves[h].density[at[h]] / heads;
      recall += curves[h].mass_recall[at[h]] / heads;
      least = std::min(least, curves[h].mass_recall[at[h]]);
    }
    use(density, recall, least);
    std::size_t h = 0;
    while (h < curves.size() && ++at[h] == curves[h].size()) at[h++] = 0;
    if (h == curves.size()) return;
  }
}

std::vector<Curve> fronts_of(const std::vector<Curve>& curves, double floor) {
  std::vector<Curve> made;
  for (const Curve& curve : curves) made.push_back(convex_front(curve, floor));
  return made;
}

}  // namespace

TEST_CASE("a front is the concave upper hull of the points above the floor") {
  std::mt19937 random(1);
  for (int run = 0; run < 300; ++run) {
    const Curve curve = random_curve(random, 1 + run % 12);
    const double floor = run % 3 == 0 ? 0 : 0.6;
    const Curve hull = convex_front(curve, floor);
    REQUIRE(hull.size() >= 1);
    const auto first = curve.least(floor);
    CHECK(hull.density[0] == curve.density[first.value_or(curve.size() - 1)]);
    CHECK(hull.mass_recall.back() == curve.mass_recall.back());
    for (std::size_t n = 0; n + 1 < hull.size(); ++n) {
      CHECK(hull.density[n] < hull.density[n + 1]);
      CHECK(hull.mass_recall[n] < hull.mass_recall[n + 1]);
    }
    for (std::size_t n = 0; first && n < curve.size(); ++n) {  // no allowed point lies above it
      if (curve.mass_recall[n] < floor) continue;
      for (std::size_t m = 0; m + 1 < hull.size(); ++m) {
        if (curve.density[n] < hull.density[m] || curve.density[n] > hull.density[m + 1]) continue;
        const double share = (curve.density[n] - hull.density[m]) / (hull.density[m + 1] - hull.density[m]);
        CHECK(curve.mass_recall[n] <=
              hull.mass_recall[m] + share * (hull.mass_recall[m + 1] - hull.mass_recall[m]) + 1e-9);
      }
    }
  }
}

TEST_CASE("an allocation meets its target, and no choice of points beats its bound") {
  std::mt19937 random(2);
  int tight = 0, feasible = 0;
  for (int run = 0; run < 400; ++run) {
    std::vector<Curve> curves;
    for (int h = 0; h < 2 + run % 3; ++h)
      curves.push_back(random_curve(random, 2 + static_cast<int>(random() % 5)));
    const double floor = run % 2 ? 0.3 : 0,
                 target = std::uniform_real_distribution<double>(0.3, 0.95)(random);
    const auto fronts = fronts_of(curves, floor);
    const Allocation found = allocate_for_recall(fronts, target);
    double best = INFINITY, most = 0;
    bool floors_met = std::all_of(curves.begin(), curves.end(),
                                  [&](const Curve& c) { return c.mass_recall.back() >= floor; });
    each_choice(curves, [&](double density, double recall, double least) {
      most = std::max(most, recall);
      if (recall >= target && least >= floor) best = std::min(best, density);
    });
    CHECK(found.feasible == (most >= target));
    if (!found.feasible) {
      CHECK(found.gain == doctest::Approx(most));
      continue;
    }
    ++feasible;
    CHECK(found.gain >= target - 1e-9);
    CHECK(found.gap(false) >= -1e-9);
    if (!floors_met) continue;
    CHECK(found.bound <= best + 1e-9);
    CHECK(found.density >= best - 1e-9);
    CHECK(found.density <= best + found.gap(false) + 1e-9);
    tight += found.density <= best + 1e-9;
  }
  CHECK(tight > feasible / 3);  // often it is the optimum itself
}

TEST_CASE("a density budget is kept, and no choice of points keeps more than the bound") {
  std::mt19937 random(3);
  for (int run = 0; run < 400; ++run) {
    std::vector<Curve> curves;
    for (int h = 0; h < 2 + run % 3; ++h)
      curves.push_back(random_curve(random, 2 + static_cast<int>(random() % 5)));
    const double budget = std::uniform_real_distribution<double>(0, 0.8)(random);
    const Allocation found = allocate_for_density(fronts_of(curves, 0), budget);
    double best = -1;
    each_choice(curves, [&](double density, double recall, double) {
      if (density <= budget) best = std::max(best, recall);
    });
    CHECK(found.feasible == (best >= 0));
    if (!found.feasible) continue;
    CHECK(found.density <= budget + 1e-9);
    CHECK(found.bound >= best - 1e-9);
    CHECK(found.gain <= best + 1e-9);
    CHECK(found.gap(true) >= -1e-9);
  }
}

TEST_CASE("with many heads the gap vanishes, and the allocation beats one target for all") {
  std::mt19937 random(4);
  std::vector<Curve> curves;
  double each = 0;
  for (int h = 0; h < 200; ++h) {
    curves.push_back(random_curve(random, 60));
    each += curves.back().density[curves.back().least(0.95).value_or(59)] / 200;
  }
  const Allocation found = allocate_for_recall(fronts_of(curves, 0), 0.95);
  CHECK(found.gain >= 0.95 - 1e-9);
  CHECK(found.density < each);
  CHECK(found.gap(false) < 1e-3);
  const Allocation back = allocate_for_density(fronts_of(curves, 0), found.density);
  CHECK(back.gain >= 0.95 - 1e-3);
}
