#include "anchor/method/tail.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include "anchor/base/error.hpp"
#include "anchor/mass/curve.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "support/params.hpp"
#include "support/random.hpp"

using namespace anchor;
using test::random_inputs;
using test::Settings;
using test::square;

namespace {

struct Case {
  const char* method;
  Settings settings;
};

/// Settings with which every method leaves something out of 700 tokens.
std::vector<Case> cases() {
  return {{"anchor", {{"theta", "0"}, {"block", "32"}, {"step", "2"}}},
          {"anchor", {{"theta", "0"}, {"block", "32"}, {"step", "2"}, {"mode", "v4"}}},
          {"stripes", {{"theta", "2"}, {"block", "64"}}},
          {"stripes", {{"theta", "3"}, {"block", "64"}, {"score", "peak"}}},
          {"vertical-slash", {{"vertical", "40"}, {"slash", "60"}}},
          {"vertical-slash-blocks", {{"vertical", "40"}, {"slash", "60"}, {"block", "32"}}},
          {"block-sparse", {{"topk", "2"}}},
          {"flexprefill", {{"gamma", "0.3"}, {"min_budget", "0"}, {"block", "32"}}},
          {"shareprefill", {{"gamma", "0.3"}, {"min_budget", "0"}}},
          {"xattention", {{"tau", "0.4"}, {"block", "64"}}},
          {"spargeattn", {{"cdf", "0.2"}, {"sim", "-1"}}},
          {"sale", {{"theta_h", "0.4"}, {"window", "1"}}},
          {"flashprefill", {{"alpha", "0.9"}, {"sink", "0"}, {"window", "1"}, {"block", "32"}}},
          {"block-oracle", {{"mass", "0.5"}, {"block", "32"}}},
          {"stripe-oracle", {{"mass", "0.5"}, {"block", "32"}, {"step", "2"}}}};
}

SparsePlan plan(const Case& of, const AttentionInputs& inputs, const std::string& tail) {
  const Method& method = find_method(of.method);
  Settings settings = of.settings;
  if (!tail.empty()) settings.emplace_back("tail", tail);
  const SparsePlan made = method.plan_cpu(inputs, {test::params_of(method, settings), {}});
  CHECK(validate(made) == "");
  return made;
}

}  // namespace

TEST_CASE("every method that asks pooled or sampled queries has a tail, and no other method has one") {
  for (const Method& method : methods()) {
    CAPTURE(method.name);
    const bool covered =
        std::ranges::any_of(cases(), [&](const Case& of) { return method.name == of.method; });
    const bool has = default_params(method).values().contains("tail");
    CHECK(has == covered);
    CHECK(tail_rows(default_params(method)) == 0);
  }
}

TEST_CASE("tail: the plan rows of the last rows keep all keys, and the others keep what they kept") {
  const auto random = random_inputs(square(1300, 16, 2, 1), 3, 3);
  const AttentionInputs in = random.view();
  for (const Case& of : cases()) {
    CAPTURE(std::string(of.method));
    const SparsePlan bare = plan(of, in, "");
    REQUIRE(plan_stats(bare, 1).density() < 1);
    if (std::string(of.method) != "anchor") CHECK(plan(of, in, "0") == bare);
    for (const std::int64_t tail : {1, 100, 333, 1300, 5000}) {
      CAPTURE(tail);
      const SparsePlan made = plan(of, in, std::to_string(tail));
      for (std::int64_t row = 0; row < made.rows(); ++row) {
        const std::int64_t group = row % made.groups();
        if (std::min<std::int64_t>((group + 1) * made.group_rows(), 1300) > 1300 - tail) {
          const int head = static_cast<int>(row / made.groups());
          const PlanStats stats = plan_stats(made, head, group);
          CHECK(stats.visible_pairs == stats.causal_pairs);
          if (made.dup.rows() > 0) CHECK(made.dup[row].empty());
        } else {
          CHECK(std::ranges::equal(made.blocks[row], bare.blocks[row]));
          CHECK(std::ranges::equal(made.columns[row], bare.columns[row]));
        }
      }
      if (tail >= 1300) CHECK(plan_stats(made, 0).visible_pairs == in.geometry.causal_pairs());
    }
  }
}

TEST_CASE("tail: a method's curve stays exact, with the tail among what is kept at every knob") {
  const auto random = random_inputs(square(1300, 16, 2, 1), 4, 3);
  const AttentionInputs in = random.view();
  int curves = 0;
  for (const Case& of : cases()) {
    const Method& method = find_method(of.method);
    if (!method.critical_cpu) continue;
    CAPTURE(std::string(of.method));
    ++curves;
    for (const std::int64_t tail : {0, 1, 333, 1300}) {
      CAPTURE(tail);
      Params params = test::params_of(method, of.settings);
      params.set("tail", static_cast<double>(tail));
      const MassMap mass = cpu_mass_map(in.head(1), method.granularity(params, in.geometry));
      const CriticalItems items = method.critical_cpu(in, 1, params, mass);
      const Curve curve = exact_curve(items);
      if (tail == 1300) {
        CHECK(items.knob.empty());
        CHECK(items.forced_pairs == items.causal_pairs);
        CHECK(items.forced_mass == doctest::Approx(1300).epsilon(1e-4));
      }
      for (const std::size_t n : {std::size_t{0}, curve.size() / 2, curve.size() - 1}) {
        if (n == 0 && (curve.descending || check_value(find_param(method, method.knob), curve.knob[0]) != ""))
          continue;
        PlanRequest request{params, {}};
        request.params.set(method.knob, curve.knob[n]);
        CHECK(curve.density[n] ==
              doctest::Approx(plan_stats(method.plan_cpu(in, request), 1).density()).epsilon(1e-12));
      }
    }
  }
  CHECK(curves >= 8);
}

TEST_CASE("tail: rows that are planned alone have the part of the tail that lies in them") {
  Params params = default_params(find_method("stripes"));
  CHECK(tail_rows(tail_before(params, 100, 300)) == 0);
  params.set("tail", 250.);
  CHECK(tail_rows(tail_before(params, 300, 300)) == 250);
  CHECK(tail_rows(tail_before(params, 100, 300)) == 50);
  CHECK(tail_rows(tail_before(params, 20, 300)) == 0);
  Params words = default_params(find_method("anchor"));
  CHECK(tail_before(words, 20, 300).choice("tail") == "auto");
}

TEST_CASE("tail: what pv leaves out of every row is refused beside it") {
  const auto random = random_inputs(square(300, 16, 1, 1), 5, 3);
  try {
    plan({"spargeattn", {{"pv", "20"}}}, random.view(), "100");
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    CHECK(std::string(error.what()) == "tail: pv = 20 leaves blocks out of the last rows, too; set pv=inf");
  }
}
