#include "anchor/tuning/scoped_allocation.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

using namespace anchor;

namespace {

Curve random_front(std::mt19937& random) {
  std::uniform_real_distribution<double> step(0, 1);
  Curve curve;
  double density = 0.1 * step(random), recall = 0.4 * step(random);
  for (int n = 0; n < 12; ++n) {
    curve.push({n == 0 ? -HUGE_VAL : n, density, recall});
    density += 0.08 * step(random);
    recall += 0.05 * step(random);
  }
  return convex_front(curve, 0);
}

}  // namespace

TEST_CASE("layers are allocated apart, the model at once; every head gets a point of its own front") {
  std::mt19937 random(1);
  std::vector<ChosenHead> heads;
  std::vector<Curve> fronts;
  for (int layer = 0; layer < 3; ++layer) {
    for (int head = 0; head < 2 + layer; ++head) {
      heads.push_back({.layer = layer, .head = head, .at = {}});
      fronts.push_back(random_front(random));
    }
  }
  for (const auto scope : {AllocationScope::layer, AllocationScope::model}) {
    for (const std::optional<double> budget : {std::optional<double>(), std::optional(0.3)}) {
      const AllocatedHeads made =
          allocate_heads(heads, fronts, {.scope = scope, .mass_recall = 0.5, .density = budget});
      REQUIRE(made.scopes.size() == (scope == AllocationScope::layer ? 3 : 1));
      REQUIRE(made.heads.size() == heads.size());
      std::size_t at = 0;
      for (const AllocatedScope& one : made.scopes) {
        CHECK(one.layer.has_value() == (scope == AllocationScope::layer));
        const auto own = std::span(fronts).subspan(at, one.heads);
        const Allocation expected =
            budget ? allocate_for_density(own, *budget) : allocate_for_recall(own, 0.5);
        CHECK(one.allocation.point == expected.point);
        double density = 0, worst = 1;
        for (std::size_t h = 0; h < one.heads; ++h, ++at) {
          const ChosenHead& head = made.heads[at];
          CHECK(head.layer == heads[at].layer);
          CHECK(head.head == heads[at].head);
          const CurvePoint point = fronts[at].point(expected.point[h]);
          CHECK(head.at.knob == point.knob);
          CHECK(head.at.density == point.density);
          density += head.at.density / static_cast<double>(one.heads);
          worst = std::min(worst, head.at.mass_recall);
        }
        CHECK(one.allocation.density == doctest::Approx(density));
        CHECK(one.worst_recall == worst);
      }
      CHECK(at == heads.size());
    }
  }
  CHECK(name_of(AllocationScope::layer) == "layer");
  CHECK(name_of(AllocationScope::model) == "model");
}
