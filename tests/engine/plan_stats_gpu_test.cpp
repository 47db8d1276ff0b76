#include <doctest/doctest.h>

#include "anchor/engine/devices.hpp"
#include "support/kv_group.hpp"
#include "support/params.hpp"

using namespace anchor;

namespace {

/// Every method whose plans are made whole, at its defaults; and settings that lay lists out differently.
std::vector<std::pair<const Method*, Params>> settings() {
  std::vector<std::pair<const Method*, Params>> all;
  for (const Method& method : methods())
    if (method.rows_per_plan == 0) all.emplace_back(&method, default_params(method));
  const auto add = [&](const char* name, const test::Settings& values) {
    const Method& method = find_method(name);
    all.emplace_back(&method, test::params_of(method, values));
  };
  add("streaming", {{"sink", "37"}, {"local", "101"}});
  add("tri-shape", {{"sink", "20"}, {"local", "150"}, {"last", "70"}});
  add("anchor", {{"theta", "4"}, {"step", "4"}});
  add("anchor", {{"theta", "4"}, {"step", "2"}, {"mode", "v4"}});
  add("stripes", {{"theta", "6"}});
  add("vertical-slash", {{"vertical", "60"}, {"slash", "150"}});
  add("xattention", {{"tau", "0.7"}});
  add("flashprefill", {{"alpha", "0.6"}, {"pack", "head"}});
  return all;
}

}  // namespace

TEST_CASE("what a plan keeps and costs is counted on the device as on the host, for every method") {
  const auto engine = make_engine("cuda");
  for (const Geometry& geometry : {test::square(1, 64, 2, 1), test::square(129, 128, 4, 2),
                                   test::square(1100, 64, 4, 2), test::square(2113, 128, 4, 1)}) {
    const auto inputs = engine->upload(test::random_group(geometry, DType::bf16, 5, 3));
    for (const auto& [method, params] : settings()) {
      CAPTURE(method->name);
      CAPTURE(geometry.q_len);
      const PlanHandle plan = engine->plan(*method, {params, {}}, *inputs, 0, geometry.q_len);
      const std::vector<PlanStats> counted = engine->stats(*plan);
      const SparsePlan host = plan->to_host();
      REQUIRE(counted.size() == static_cast<std::size_t>(geometry.q_heads));
      for (int head = 0; head < geometry.q_heads; ++head) {
        CAPTURE(head);
        const PlanStats expected = plan_stats(host, head), &got = counted[static_cast<std::size_t>(head)];
        CHECK(got.causal_pairs == expected.causal_pairs);
        CHECK(got.visible_pairs == expected.visible_pairs);
        CHECK(got.work_pairs == expected.work_pairs);
        CHECK(got.stripe_pairs == expected.stripe_pairs);
      }
    }
  }
}

TEST_CASE("a part of the queries is counted alone") {
  const auto engine = make_engine("cuda");
  const auto inputs = engine->upload(test::random_group(test::square(1500, 64, 2, 1), DType::bf16, 5, 3));
  const Method& method = find_method("anchor");
  const PlanHandle plan = engine->plan(method, {test::params_of(method, {{"theta", "4"}, {"step", "1"}}), {}},
                                       *inputs, 640, 1300);
  const std::vector<PlanStats> counted = engine->stats(*plan);
  const SparsePlan host = plan->to_host();
  for (int head = 0; head < 2; ++head) {
    const PlanStats expected = plan_stats(host, head), &got = counted[static_cast<std::size_t>(head)];
    CHECK(got.causal_pairs == expected.causal_pairs);
    CHECK(got.visible_pairs == expected.visible_pairs);
    CHECK(got.work_pairs == expected.work_pairs);
    CHECK(got.stripe_pairs == expected.stripe_pairs);
  }
}
