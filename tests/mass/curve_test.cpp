#include "anchor/mass/curve.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "anchor/engine/cpu_engine.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "support/curve.hpp"
#include "support/random.hpp"

using namespace anchor;
using test::random_inputs;
using test::square;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

KvGroup group_of(const test::RandomInputs& inputs) {
  const Geometry& g = inputs.geometry;
  return {.geometry = g,
          .q = Tensor::from_float(DType::f32, {g.q_heads, g.q_len, g.head_dim}, inputs.q),
          .k = Tensor::from_float(DType::f32, {g.kv_heads, g.kv_len, g.head_dim}, inputs.k),
          .v = Tensor::from_float(DType::f32, {g.kv_heads, g.kv_len, g.head_dim}, inputs.v)};
}

struct Point {
  double density, mass_recall;
};

/// What the executed plan keeps at one theta.
Point replay(Engine& engine, const Inputs& inputs, int head, const PlanRequest& request,
             const std::vector<double>& dense_lse) {
  const auto plan = engine.plan(find_method("anchor"), request, inputs, 0, inputs.geometry().q_len);
  const AttentionResult result = engine.execute(inputs, *plan);
  const std::int64_t rows = inputs.geometry().q_len;
  double recall = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto at = static_cast<std::size_t>(head * rows + i);
    recall += std::exp(result.lse[at] - dense_lse[at]) / static_cast<double>(rows);
  }
  return {plan_stats(plan->to_host(), head).density(), recall};
}

}  // namespace

TEST_CASE(
    "the exact curve equals the planner and executor replayed at 20 thetas and at breakpoints, in every "
    "mode") {
  const auto engine = make_cpu_engine();
  const Method& anchor = find_method("anchor");
  for (const char* mode : {"clean", "v4"}) {
    for (const std::int64_t length : {320, 333, 250}) {
      for (const std::int64_t q_start : {0, 64}) {
        const auto random = random_inputs(square(length, 64, 2, 1, q_start), unsigned(length), 3);
        const auto inputs = engine->upload(group_of(random));
        PlanRequest request{default_params(anchor), {}};
        request.params.set("block", 16.);
        request.params.set("step", 4.);
        request.params.set("mode", std::string(mode));
        const auto dense = engine->execute(
            *inputs, *engine->plan(find_method("dense"), {}, *inputs, 0, random.geometry.q_len));
        for (int head = 0; head < 2; ++head) {
          const Curve curve = test::full_curve(*engine, anchor, request.params, *inputs, head);
          std::vector<double> thetas{-infinity, infinity};
          for (int n = 0; n < 20; ++n) thetas.push_back(-2 + 0.5 * n);
          for (const std::size_t n : {std::size_t{1}, curve.size() / 2, curve.size() - 1}) {
            thetas.push_back(curve.knob[n]);
            thetas.push_back(std::nextafter(static_cast<float>(curve.knob[n]), -1e30f));
          }
          for (const double theta : thetas) {
            request.params.set("theta", theta);
            const Point expected = replay(*engine, *inputs, head, request, dense.lse);
            CHECK(curve.density[curve.at(theta)] == doctest::Approx(expected.density).epsilon(1e-12));
            CHECK(std::abs(curve.mass_recall[curve.at(theta)] - expected.mass_recall) < 1e-5);
          }
        }
      }
    }
  }
}

TEST_CASE("the least threshold reaches the target, and the step before it does not") {
  const auto engine = make_cpu_engine();
  const auto random = random_inputs(square(512, 32), 3, 3);
  const auto inputs = engine->upload(group_of(random));
  Params params = default_params(find_method("anchor"));
  params.set("block", 16.);
  params.set("step", 4.);
  const Curve curve = test::full_curve(*engine, find_method("anchor"), params, *inputs, 0);
  CHECK(curve.mass_recall.back() == doctest::Approx(1).epsilon(1e-6));
  CHECK(curve.density.back() == doctest::Approx(1).epsilon(1e-12));
  for (const double target : {0.5, 0.9, 0.99}) {
    const auto found = curve.least(target);
    REQUIRE(found.has_value());
    CHECK(curve.mass_recall[*found] >= target);
    if (*found > 0) CHECK(curve.mass_recall[*found - 1] < target);
  }
  CHECK(!curve.least(1.1).has_value());

  const Curve few = thin(curve, 0.01);
  CHECK(few.size() < curve.size() / 2);
  for (double theta = -3; theta < 12; theta += 0.01) {
    CHECK(std::abs(few.density[few.at(theta)] - curve.density[curve.at(theta)]) <= 0.01);
    CHECK(std::abs(few.mass_recall[few.at(theta)] - curve.mass_recall[curve.at(theta)]) <= 0.01);
  }
}

TEST_CASE("entries with equal critical values enter together; empty and single-row heads have a curve") {
  CriticalItems items{.knob = {2, 1, 2, 3},
                      .pairs = {1, 2, 3, 4},
                      .mass = {.1f, .2f, .3f, .4f},
                      .forced_pairs = 10,
                      .forced_mass = 1,
                      .causal_pairs = 20,
                      .query_rows = 2};
  const Curve curve = exact_curve(items);
  CHECK(curve.knob == std::vector<double>{-infinity, 1, 2, 3});
  CHECK(curve.density == std::vector<double>{.5, .6, .8, 1});
  CHECK(curve.mass_recall[2] == doctest::Approx(.8));
  CHECK(exact_curve({.forced_pairs = 1, .forced_mass = 1, .causal_pairs = 1, .query_rows = 1}).size() == 1);
}

TEST_CASE("the mean of several curves is the mean at every knob") {
  std::vector<Curve> curves;
  for (unsigned seed = 1; seed < 6; ++seed) {
    const auto engine = make_cpu_engine();
    const auto random = random_inputs(square(300, 16), seed, 3);
    const auto inputs = engine->upload(group_of(random));
    Params params = default_params(find_method("anchor"));
    params.set("block", 16.);
    params.set("step", 2.);
    curves.push_back(test::full_curve(*engine, find_method("anchor"), params, *inputs, 0));
  }
  const auto mean_at = [&](double knob) {
    Point mean{0, 0};
    for (const Curve& curve : curves) {
      mean.density += curve.density[curve.at(knob)] / 5;
      mean.mass_recall += curve.mass_recall[curve.at(knob)] / 5;
    }
    return mean;
  };
  const Curve mean = mean_curve(curves);
  for (std::size_t n = 0; n < mean.size(); ++n) {
    CHECK(mean.density[n] == doctest::Approx(mean_at(mean.knob[n]).density).epsilon(1e-9));
    CHECK(mean.mass_recall[n] == doctest::Approx(mean_at(mean.knob[n]).mass_recall).epsilon(1e-9));
  }
}
