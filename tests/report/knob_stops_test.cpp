#include "anchor/report/knob_stops.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "anchor/method/method.hpp"

using namespace anchor;

namespace {

const ParamSpec& knob_of(const Method& method) {
  return *std::find_if(method.params.begin(), method.params.end(),
                       [&](const ParamSpec& spec) { return spec.name == method.knob; });
}

Curve ramp(double low, double high, bool descending) {
  Curve curve{.descending = descending};
  for (int n = 0; n <= 1000; ++n) {
    const double part = n / 1000.;
    curve.push({descending ? std::lerp(high, low, part) : std::lerp(low, high, part), part, std::sqrt(part)});
  }
  return curve;
}

}  // namespace

TEST_CASE("stops are the knob's ends, round numbers between, and what is wanted; in order of density") {
  const std::vector<double> wanted{7.83};
  const std::vector<double> stops =
      knob_stops(knob_of(find_method("anchor")), ramp(-5, 25, false), wanted, 48);
  CHECK(stops.front() == -HUGE_VAL);
  CHECK(stops.back() == HUGE_VAL);
  CHECK(std::is_sorted(stops.begin(), stops.end()));
  CHECK((stops.size() > 20 && stops.size() <= 50));
  for (const double stop : stops)
    if (std::isfinite(stop) && stop != 7.83) CHECK(std::fmod(stop, 0.5) == 0);
  CHECK(std::count(stops.begin(), stops.end(), 7.83) == 1);
}

TEST_CASE(
    "a descending knob falls along its stops; no stop leaves the knob's range, whole knobs stay whole") {
  for (const Method& method : methods()) {
    if (!method.granularity) continue;
    CAPTURE(method.name);
    const ParamSpec& spec = knob_of(method);
    for (const auto& [low, high] : {std::pair{0.0, 0.9}, {0.01, 0.5}, {1.0, 900.0}, {0.5, 0.5}}) {
      const std::vector<double> stops = knob_stops(spec, ramp(low, high, method.knob_descends), {}, 40);
      CHECK(stops.size() >= 2);
      CHECK(stops.size() <= 48);
      for (std::size_t n = 0; n < stops.size(); ++n) {
        CHECK((stops[n] >= spec.minimum && stops[n] <= spec.maximum));
        if (n > 0) CHECK((method.knob_descends ? stops[n] < stops[n - 1] : stops[n] > stops[n - 1]));
        if (spec.kind == ParamSpec::Kind::integer) CHECK(stops[n] == std::round(stops[n]));
      }
    }
  }
}
