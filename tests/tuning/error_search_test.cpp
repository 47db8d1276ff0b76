#include "anchor/tuning/error_search.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

using namespace anchor;

namespace {

/// A head that keeps `forced` of its pairs at every knob; what it loses of its mass falls with density.
Curve head_curve(double forced, double power, int steps, unsigned seed) {
  std::mt19937 rng(seed);
  std::uniform_real_distribution<double> width(0.1, 1);
  std::vector<double> density{0};
  for (int n = 0; n < steps; ++n) density.push_back(density.back() + width(rng));
  Curve curve;
  for (std::size_t n = 0; n < density.size(); ++n) {
    const double kept = forced + (1 - forced) * density[n] / density.back();
    curve.push({n == 0 ? -HUGE_VAL : static_cast<double>(n), kept, 1 - std::pow(1 - kept, power)});
  }
  return curve;
}

Target error_of(double value) { return {"out_rel_l2", "mean", value}; }

}  // namespace

TEST_CASE("every limit is met by a plan that was run, near the least one there is") {
  const std::vector<double> limits{0.1, 0.05, 0.02};
  for (const double forced : {0.01, 0.2}) {
    for (const double power : {2., 6.}) {             // of lost mass over what is left out
      for (const double exponent : {0.5, 1., 1.7}) {  // of the error over lost mass
        for (const int steps : {5, 60, 20000}) {
          CAPTURE(forced);
          CAPTURE(power);
          CAPTURE(exponent);
          CAPTURE(steps);
          const Curve curve = head_curve(forced, power, steps, 7);
          const auto error = [&](std::size_t n) {
            return 1.5 * std::pow(1 - curve.mass_recall[n], exponent);
          };
          ErrorSearch search(curve, limits);
          int runs = 0;
          for (; runs < 30; ++runs) {
            const auto knob = search.next();
            if (!knob) break;
            const std::size_t n = curve.at(*knob);
            search.add({*knob, curve.density[n], curve.mass_recall[n], curve.density[n], error(n)});
          }
          CHECK(runs < 30);
          for (const double limit : limits) {
            const HeadAt* found = least(search.runs(), error_of(limit));
            REQUIRE(found != nullptr);
            CHECK(*found->out_rel_l2 <= limit);
            std::size_t best = 0;
            while (error(best) > limit) ++best;
            CHECK(found->density >= curve.density[best] - 1e-12);
            const bool no_point_between = curve.at(found->knob) == best;
            CHECK((no_point_between || *found->out_rel_l2 > 0.95 * limit ||
                   found->density - curve.density[best] <= 0.005));
          }
        }
      }
    }
  }
}

TEST_CASE("a limit that all plans meet is met by the sparsest, and one that none meets ends the search") {
  const Curve curve = head_curve(0.3, 2, 50, 3);
  ErrorSearch easy(curve, {0.5}), hopeless(curve, {0.01});
  int runs = 0;
  for (; easy.next() && runs < 10; ++runs) {
    const std::size_t n = curve.at(*easy.next());
    easy.add({curve.knob[n], curve.density[n], curve.mass_recall[n], {}, 0.1});
  }
  CHECK(least(easy.runs(), error_of(0.5))->density == curve.density[0]);
  CHECK(runs == 2);
  hopeless.add({curve.knob.back(), 1, 1, {}, 0.2});
  CHECK_FALSE(hopeless.next());
  CHECK(least(hopeless.runs(), error_of(0.01)) == nullptr);
}
