#include <doctest/doctest.h>
#include <fmt/format.h>

#include "anchor/base/error.hpp"
#include "anchor/method/method.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "model/golden.hpp"
#include "support/golden_inputs.hpp"

using namespace anchor;
using test::golden_inputs;

namespace {

const std::string clusters = golden_path("planners/clusters.json");  // heads 0 and 1 of layers 0-2, none else

Params params_of(const std::vector<std::pair<std::string, std::string>>& settings) {
  const Method& method = find_method("shareprefill");
  Params params = default_params(method);
  for (const auto& [name, value] : settings) set_param(method, params, name, value);
  return params;
}

/// Plans of layers 0, 1, ... of a small model, in order.
std::vector<SparsePlan> plan_layers(const Params& params, int layers) {
  const Method& method = find_method("shareprefill");
  PlanRequest request{params, {}, method.model_state(params)};
  std::vector<SparsePlan> plans;
  for (request.layer = 0; request.layer < layers; ++request.layer) {
    const auto inputs = golden_inputs(1300, 16, 3, 1, static_cast<unsigned>(11 + request.layer));
    plans.push_back(method.plan_cpu(inputs.view(), request));
    REQUIRE(validate(plans.back()) == "");
  }
  return plans;
}

bool dense(const SparsePlan& plan, int head) {
  return plan_stats(plan, head).visible_pairs == plan.geometry.causal_pairs();
}

}  // namespace

TEST_CASE("SharePrefill over layers equals the independent implementation") {
  for (const auto& golden : read_golden("planners/shareprefill-layers.json")) {
    Params params = params_of({{"clusters", clusters}});
    for (const auto& [key, value] : golden["set"].items())
      set_param(find_method("shareprefill"), params, key, value.get<std::string>());
    const auto plans = plan_layers(params, 3);
    for (std::size_t layer = 0; layer < plans.size(); ++layer) {
      for (std::int64_t row = 0; row < plans[layer].rows(); ++row) {
        std::string text;
        for (const auto start : plans[layer].blocks[row])
          text += fmt::format("{}{}", text.empty() ? "" : " ", start / 128);
        CAPTURE(golden["set"].dump());
        CAPTURE(layer);
        CAPTURE(row);
        CHECK(text == golden["layers"][layer][static_cast<std::size_t>(row)].get<std::string>());
      }
    }
  }
}

TEST_CASE("the first head of a cluster is dense, and only later layers take over its pattern") {
  const std::vector<std::pair<std::string, std::string>> base{
      {"clusters", clusters}, {"gamma", "0.5"}, {"min_budget", "0"}, {"tau_qa", "0"}, {"phi", "2"}};
  const auto with = [&](const std::string& tau_sim) {
    auto settings = base;
    settings.emplace_back("tau_sim", tau_sim);
    return plan_layers(params_of(settings), 2);
  };
  const auto shared = with("1"), alone = with("0");
  CHECK(dense(shared[0], 0));
  CHECK(!dense(shared[0], 1));
  CHECK(shared[0] == alone[0]);  // the pattern appears after its layer
  CHECK(shared[1] != alone[1]);
  const std::int64_t groups = shared[1].groups();
  for (std::int64_t g = 0; g < groups; ++g) {
    CHECK(!shared[1].blocks[g].empty());
    CHECK(
        std::ranges::equal(shared[1].blocks[2 * groups + g], alone[1].blocks[2 * groups + g]));  // no cluster
  }
}

TEST_CASE("without clusters SharePrefill is FlexPrefill; with clusters it needs the model's state") {
  const auto inputs = golden_inputs(1300, 16, 2, 1, 5);
  const Method &share = find_method("shareprefill"), &flex = find_method("flexprefill");
  for (const char* rounding : {"exact", "official"}) {
    Params flex_params = default_params(flex);
    for (const auto& [name, value] :
         {std::pair{"gamma", "0.7"}, {"tau", "0.3"}, {"min_budget", "256"}, {"rounding", rounding}})
      set_param(flex, flex_params, name, value);
    const Params params =
        params_of({{"gamma", "0.7"}, {"tau_qa", "0.3"}, {"min_budget", "256"}, {"rounding", rounding}});
    CHECK(share.plan_cpu(inputs.view(), {params, {}}) == flex.plan_cpu(inputs.view(), {flex_params, {}}));
  }
  CHECK_THROWS_AS(share.plan_cpu(inputs.view(), {params_of({{"clusters", clusters}}), {}}), Error);
  CHECK_THROWS_AS(share.model_state(params_of({{"clusters", "/nowhere.json"}})), Error);
  CHECK_THROWS_AS(share.model_state(params_of({{"clusters", golden_path("planners/xattention.json")}})),
                  Error);
}
