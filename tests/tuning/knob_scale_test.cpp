#include "anchor/tuning/knob_scale.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/base/error.hpp"
#include "support/random.hpp"

using namespace anchor;

TEST_CASE("a scale runs from what keeps least to what keeps most, within the parameter's bounds") {
  const Geometry geometry = test::square(1000);
  for (const Method& method : methods()) {
    CAPTURE(method.name);
    if (method.knob.empty()) {
      CHECK_THROWS_WITH_AS(KnobScale(method, geometry), doctest::Contains("no knob"), Error);
      continue;
    }
    const KnobScale scale(method, geometry);
    const auto spec = std::find_if(method.params.begin(), method.params.end(),
                                   [&](const auto& s) { return s.name == method.knob; });
    double last = scale.knob(0);
    for (int n = 0; n <= 32; ++n) {
      const double knob = scale.knob(n / 32.);
      CHECK(std::isfinite(knob));
      CHECK(knob >= spec->minimum);
      CHECK(knob <= spec->maximum);
      CHECK((method.knob_descends ? knob <= last : knob >= last));
      if (spec->kind == ParamSpec::Kind::integer) {
        CHECK(knob == std::round(knob));
        CHECK(knob <= 1000);
      }
      last = knob;
    }
    CHECK(scale.additive() == (spec->kind != ParamSpec::Kind::integer && spec->minimum < 0));
  }
}

TEST_CASE("counts are spaced evenly in their logarithm, and a second budget keeps its proportion") {
  const Method& method = find_method("vertical-slash");
  REQUIRE(!method.second_budget.empty());
  const KnobScale scale(method, test::square(4096));
  CHECK(scale.knob(0.5) == doctest::Approx(std::sqrt(scale.knob(0) * scale.knob(1))).epsilon(0.02));
  Params params = default_params(method);
  params.set(method.knob, 100.);
  params.set(method.second_budget, 300.);
  for (const double place : {0.2, 0.5, 1.}) {
    const Params made = scale.params_at(params, place);
    CHECK(made.real(method.knob) == scale.knob(place));
    CHECK(made.real(method.second_budget) == std::max(1., std::round(3 * scale.knob(place))));
  }
}
