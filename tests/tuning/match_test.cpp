#include "anchor/tuning/match.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "anchor/engine/dense_reference.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "anchor/tuning/knob_scale.hpp"
#include "support/kv_group.hpp"

using namespace anchor;

namespace {

/// A layer with its dense attention, and plans of one method on it.
struct Layer {
  explicit Layer(const char* name) : method(find_method(name)), request{default_params(method), {}} {
    const auto known = request.params.values();
    if (known.contains("block")) set_param(method, request.params, "block", "16");
    if (known.contains("step")) set_param(method, request.params, "step", "1");
    if (known.contains("stride")) set_param(method, request.params, "stride", "4");
    if (known.contains("sink")) set_param(method, request.params, "sink", "4");
  }
  Kept keeps(const PlanRequest& asked) {
    return dense->compare(*engine->plan(method, asked, *inputs, 0, inputs->geometry().q_len));
  }
  double density(const PlanRequest& asked) {
    const SparsePlan plan = engine->plan(method, asked, *inputs, 0, inputs->geometry().q_len)->to_host();
    double sum = 0;
    for (int head = 0; head < plan.geometry.q_heads; ++head) sum += plan_stats(plan, head).density();
    return sum / plan.geometry.q_heads;
  }

  std::unique_ptr<Engine> engine = make_cpu_engine();
  std::unique_ptr<Inputs> inputs =
      engine->upload(test::random_group(test::square(320, 16, 4, 2), DType::f32, 3, 4));
  std::unique_ptr<DenseReference> dense = engine->dense_reference(*inputs);
  const Method& method;
  PlanRequest request;
};

}  // namespace

TEST_CASE("the knob that is found meets the target, and a knob a little sparser does not") {
  for (const char* name : {"anchor", "stripes", "xattention", "streaming"}) {
    for (const Target& target : {Target{"mass_recall", "mean", 0.9}, Target{"out_rel_l2", "mean", 0.2}}) {
      CAPTURE(name);
      CAPTURE(target.metric);
      Layer layer(name);
      const Match found =
          match_knob(*layer.engine, *layer.inputs, *layer.dense, layer.method, layer.request, target);
      REQUIRE(found.met);
      CHECK(found.plans >= 1);
      CHECK(found.request.params.real(layer.method.knob) == found.knob);
      const Kept kept = layer.keeps(found.request);
      CHECK(kept.mass_recall == found.kept.mass_recall);
      CHECK(kept.out_rel_l2 == found.kept.out_rel_l2);
      const bool mass = target.metric == "mass_recall";
      CHECK((mass ? kept.mass_recall >= target.value : kept.out_rel_l2 <= target.value));

      // By brute force over the knob's scale.
      const KnobScale scale(layer.method, layer.inputs->geometry());
      double least = 1;
      for (int n = 0; n <= 64; ++n) {
        const PlanRequest one{scale.params_at(layer.request.params, n / 64.), {}};
        const Kept other = layer.keeps(one);
        if (mass ? other.mass_recall >= target.value : other.out_rel_l2 <= target.value)
          least = std::min(least, layer.density(one));
      }
      CHECK(layer.density(found.request) <= least + 0.02);
    }
  }
}

TEST_CASE("knobs of single heads move by one amount; a head without a knob starts with the most frugal") {
  Layer layer("anchor");
  layer.request.knobs = {2, -HUGE_VAL, 4, 5};
  const Match found = match_knob(*layer.engine, *layer.inputs, *layer.dense, layer.method, layer.request,
                                 {"mass_recall", "mean", 0.9});
  REQUIRE(found.met);
  const double base[] = {2, 2, 4, 5};
  for (std::size_t h = 0; h < 4; ++h) CHECK(found.request.knobs[h] == doctest::Approx(base[h] + found.knob));
  CHECK(layer.keeps(found.request).mass_recall >= 0.9);
}

TEST_CASE("a target that no knob reaches is said to be missed, with what the densest plan keeps") {
  Layer layer("flexprefill");
  for (const char* budget : {"min_budget", "max_budget"}) layer.request.params.set(budget, 16.);
  const Match found = match_knob(*layer.engine, *layer.inputs, *layer.dense, layer.method, layer.request,
                                 {"mass_recall", "mean", 0.999});
  CHECK_FALSE(found.met);
  CHECK(found.plans == 1);
  CHECK(found.kept.mass_recall == layer.keeps(found.request).mass_recall);
  CHECK(found.kept.mass_recall < 0.999);
}

TEST_CASE("what has no knob cannot be matched") {
  Layer dense("dense");
  CHECK_THROWS_AS(match_knob(*dense.engine, *dense.inputs, *dense.dense, dense.method, dense.request, {}),
                  Error);
  Layer streaming("streaming");
  streaming.request.knobs = {1, 2, 3, 4};  // token counts do not move together
  CHECK_THROWS_WITH_AS(match_knob(*streaming.engine, *streaming.inputs, *streaming.dense, streaming.method,
                                  streaming.request, {}),
                       doctest::Contains("moved together"), Error);
}
