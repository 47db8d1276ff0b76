#include <doctest/doctest.h>

#include "anchor/engine/cpu_engine.hpp"
#include "support/kv_group.hpp"

using namespace anchor;

TEST_CASE("the CPU engine counts what a plan keeps and costs head by head, also of a part of the queries") {
  const auto engine = make_cpu_engine();
  const auto inputs = engine->upload(test::random_group(test::square(900, 64, 4, 2), DType::bf16, 5));
  for (const char* name : {"dense", "streaming", "anchor"}) {
    CAPTURE(name);
    const Method& method = find_method(name);
    PlanRequest request{default_params(method), {}};
    if (!method.knob.empty()) request.knobs = {1, 2, 100, 3};
    if (method.name == "anchor") set_param(method, request.params, "step", "1");
    if (method.name == "streaming") set_param(method, request.params, "sink", "4");
    for (const std::int64_t begin : {0, 128}) {
      const PlanHandle plan = engine->plan(method, request, *inputs, begin, 900);
      const std::vector<PlanStats> counted = engine->stats(*plan);
      const SparsePlan host = plan->to_host();
      REQUIRE(counted.size() == 4);
      for (int head = 0; head < 4; ++head) {
        const PlanStats expected = plan_stats(host, head), &got = counted[static_cast<std::size_t>(head)];
        CHECK(got.causal_pairs == host.geometry.causal_pairs());
        CHECK(got.visible_pairs == expected.visible_pairs);
        CHECK(got.work_pairs == expected.work_pairs);
        CHECK(got.stripe_pairs == expected.stripe_pairs);
      }
      if (!method.knob.empty()) CHECK(counted[2].visible_pairs > counted[0].visible_pairs);
    }
  }
}
