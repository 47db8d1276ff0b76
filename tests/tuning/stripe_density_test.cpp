#include "anchor/tuning/stripe_density.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "support/kv_group.hpp"

using namespace anchor;

TEST_CASE("the knob that is found has the stripe density that was asked for") {
  const auto engine = make_cpu_engine();
  const KvGroup layer = test::random_group(test::square(3000, 32, 4, 2), DType::f32);
  const auto inputs = engine->upload(layer);
  const Method& method = find_method("anchor");
  for (const char* step : {"1", "4"}) {
    Params params = default_params(method);
    set_param(method, params, "step", step);
    for (const double target : {0.03, 0.2}) {
      const FoundKnob found = knob_for_stripe_density(*engine, *inputs, layer, method, params, target);
      PlanRequest request{params, {}};
      request.params.set("theta", found.knob);
      const double density = layer_stats(method.plan_cpu(FloatGroup(layer).view(), request)).stripe_density();
      CHECK(density == found.stripe_density);
      CHECK(std::abs(density - target) <= 0.01 * target);
    }
  }
  CHECK_THROWS_AS(knob_for_stripe_density(*engine, *inputs, layer, find_method("dense"), {}, 0.1), Error);
}

TEST_CASE("a layer's statistics are the sums of its heads'") {
  const SparsePlan plan = test::random_plan(test::square(200, 16, 4, 2), 16, 16, 2, 5);
  const PlanStats layer = layer_stats(plan);
  std::int64_t visible = 0, causal = 0, stripes = 0;
  for (int head = 0; head < 4; ++head) {
    const PlanStats one = plan_stats(plan, head);
    visible += one.visible_pairs;
    causal += one.causal_pairs;
    stripes += one.stripe_pairs;
  }
  CHECK(layer.visible_pairs == visible);
  CHECK(layer.causal_pairs == causal);
  CHECK(layer.causal_pairs == 4 * 200 * 201 / 2);
  CHECK(layer.stripe_pairs == stripes);
}

TEST_CASE("methods that threshold single columns select stripes, others do not") {
  const Geometry g = test::square(512, 32, 2, 1);
  for (const char* name : {"anchor", "stripes"}) {
    const Method& method = find_method(name);
    CHECK(selects_stripes(method, default_params(method), g));
  }
  for (const char* name : {"dense", "streaming", "xattention", "flexprefill"}) {
    const Method& method = find_method(name);
    CHECK_FALSE(selects_stripes(method, default_params(method), g));
  }
}
