#include "anchor/eval/match_density.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "anchor/base/error.hpp"

using namespace anchor;
using doctest::Approx;

namespace {

MethodRun run_of(const char* name) {
  const Method& method = find_method(name);
  return {&method, default_params(method)};
}

}  // namespace

TEST_CASE("a knob's place is where the scale has the knob, whichever way it goes") {
  for (const Method& method : methods()) {
    if (method.knob.empty()) continue;
    CAPTURE(method.name);
    const KnobScale scale(method, Geometry{.q_len = 4096, .kv_len = 4096});
    for (const double place : {0., 0.3, 0.5, 0.9, 1.}) {
      const double knob = scale.knob(place);
      CHECK(scale.knob(scale.place(knob)) == Approx(knob));
    }
    CHECK(scale.place(scale.knob(0.2)) <= scale.place(scale.knob(0.8)));
  }
}

TEST_CASE("one knob for all heads is bisected to a density") {
  const MethodRun run = run_of("xattention");
  const auto square = [](const Params& params, const MethodAttention::ChooseHeads&) {
    return std::pow(params.real("tau"), 2);
  };
  const MatchedRun found = match_density(run, {}, 1024, 0.25, square);
  CHECK(found.value == Approx(0.5).epsilon(0.01));
  CHECK(found.params.real("tau") == found.value);
  CHECK(found.density == Approx(0.25).epsilon(0.01));
  const auto full = [](const Params&, const MethodAttention::ChooseHeads&) { return 0.9; };
  CHECK_THROWS_WITH_AS(match_density(run, {}, 1024, 0.25, full), doctest::Contains("0.9000 to 0.9000"),
                       Error);
}

TEST_CASE("heads' own knobs move together, in their order") {
  const double none = -std::numeric_limits<double>::infinity();
  for (const char* name : {"stripes", "xattention", "flashprefill"}) {
    CAPTURE(name);
    const MethodRun run = run_of(name);
    const bool additive = name == std::string("stripes");
    const std::vector<double> fitted =
        additive ? std::vector<double>{5, none, 9} : std::vector<double>{0.2, 0.5, 0.9};
    const MethodAttention::ChooseHeads choose = [&](PlanRequest& request) { request.knobs = fitted; };
    const KnobScale scale(*run.method, Geometry{.q_len = 1024, .kv_len = 1024});
    const auto mean_place = [&](const Params& params, const MethodAttention::ChooseHeads& heads) {
      PlanRequest request{.params = params};
      heads(request);
      double sum = 0;
      for (const double knob : request.knobs) sum += scale.place(knob);
      return sum / 3;
    };
    const double before = mean_place(run.params, moved_heads(*run.method, scale, choose, 0));
    const MatchedRun found = match_density(run, choose, 1024, before / 2, mean_place);
    CHECK(found.value < 0);
    CHECK(found.density == Approx(before / 2).epsilon(0.011));
    PlanRequest request{.params = run.params};
    found.choose(request);
    CHECK(std::isfinite(request.knobs[1]));
    CHECK((request.knobs[0] <= request.knobs[2]));
    if (additive) CHECK(request.knobs[2] - request.knobs[0] == Approx(4));
  }
}
