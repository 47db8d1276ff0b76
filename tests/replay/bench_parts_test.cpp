#include <doctest/doctest.h>

#include <limits>

#include "anchor/attention/reference.hpp"
#include "anchor/base/error.hpp"
#include "anchor/engine/devices.hpp"
#include "anchor/replay/plan_agreement.hpp"
#include "anchor/replay/sampled_check.hpp"
#include "anchor/rows/compare_runs.hpp"
#include "anchor/tuning/stripe_density.hpp"
#include "support/kv_group.hpp"

using namespace anchor;

namespace {

/// The sampled rows of a whole result.
AttentionResult pick(const AttentionResult& whole, std::span<const QueryRow> rows, const Geometry& g) {
  AttentionResult some;
  for (const QueryRow& row : rows) {
    const auto at = row.head * g.q_len + row.row;
    some.out.insert(some.out.end(), whole.out.begin() + at * g.head_dim,
                    whole.out.begin() + (at + 1) * g.head_dim);
    some.lse.push_back(whole.lse[static_cast<std::size_t>(at)]);
  }
  return some;
}

}  // namespace

TEST_CASE("the sampled check passes the reference itself, on plans with windows and doubled keys too") {
  const KvGroup group = test::random_group(test::square(600, 64, 4, 2), DType::bf16);
  const FloatGroup floats(group);
  for (const char* name : {"dense", "anchor", "streaming"}) {
    const Method& method = find_method(name);
    Params params = default_params(method);
    if (method.name == "anchor") {
      set_param(method, params, "mode", "v4");
      set_param(method, params, "step", "2");
      set_param(method, params, "theta", "3");
      set_param(method, params, "tail", "sparse");
    }
    if (method.name == "streaming") set_param(method, params, "local", "100");
    const SparsePlan plan = method.plan_cpu(floats.view(), {params, {}});
    const auto rows = sample_rows(group.geometry, 256, 40, 3);
    const AttentionResult result = pick(reference_attention(floats.view(), plan), rows, group.geometry);
    const SampledError error = sampled_error(group, plan, rows, result, DType::f32);
    CHECK(error.out < 0.01);
    CHECK(error.lse < 1e-6);
  }
}

TEST_CASE("the sampled check sees a missing key, an unwritten output and a wrong normaliser") {
  const KvGroup group = test::random_group(test::square(300, 64, 2, 1), DType::bf16);
  const FloatGroup floats(group);
  const SparsePlan plan = dense_plan(group.geometry);
  const auto rows = sample_rows(group.geometry, 128, 20, 3);
  const AttentionResult good = pick(reference_attention(floats.view(), plan), rows, group.geometry);

  SparsePlan less = plan;  // what a kernel that skips the first block would compute
  less.blocks = {};
  for (std::int64_t row = 0; row < plan.rows(); ++row) {
    for (const std::int32_t start : plan.blocks[row])
      if (start > 0 || row % plan.groups() == 0) less.blocks.items.push_back(start);
    less.blocks.end_row();
  }
  const AttentionResult skipped = pick(reference_attention(floats.view(), less), rows, group.geometry);
  CHECK_FALSE(sampled_error(group, plan, rows, skipped, DType::bf16).ok());

  AttentionResult unwritten = good;
  unwritten.out[5] = std::numeric_limits<float>::quiet_NaN();
  CHECK_FALSE(sampled_error(group, plan, rows, unwritten, DType::bf16).ok());
  AttentionResult shifted = good;
  shifted.lse[3] += 0.01;
  const SampledError error = sampled_error(group, plan, rows, shifted, DType::bf16);
  CHECK_FALSE(error.ok());
  CHECK(error.worst.row == rows[3].row);
}

TEST_CASE("sampled rows lie in the problem and hold every head's last row") {
  for (const std::int64_t length : {1, 100, 5000}) {
    const Geometry g = test::square(length, 64, 4, 2);
    const auto rows = sample_rows(g, 2048, 50, 1);
    CHECK(rows.size() >= 50);
    for (const QueryRow& row : rows)
      CHECK((row.head >= 0 && row.head < 4 && row.row >= 0 && row.row < length));
    for (int head = 0; head < 4; ++head)
      CHECK(std::any_of(rows.begin(), rows.end(),
                        [&](QueryRow r) { return r.head == head && r.row == length - 1; }));
  }
}

TEST_CASE("the knob that is found has the stripe density that was asked for") {
  const auto engine = make_engine("cpu");
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

TEST_CASE("a plan agrees with its own planner, and a changed list does not") {
  const KvGroup layer = test::random_group(test::square(1500, 32, 4, 2), DType::f32);
  const Method& method = find_method("anchor");
  PlanRequest request{default_params(method), {2, 3, 4, 5}};
  set_param(method, request.params, "step", "2");
  SparsePlan plan = method.plan_cpu(FloatGroup(layer).view(), request);
  const PlanAgreement own = plan_agreement(layer, plan, method, request, 0, 1000);
  CHECK(own.rows == plan.rows());
  CHECK(own.columns == static_cast<std::int64_t>(plan.columns.items.size()));
  CHECK(own.different == 0);
  CHECK(own.wrong == 0);
  CHECK(own.blocks_equal);

  PlanRequest shifted = request;
  for (double& knob : shifted.knobs) knob += 0.05;
  const SparsePlan other = method.plan_cpu(FloatGroup(layer).view(), shifted);
  const PlanAgreement strict = plan_agreement(layer, other, method, request, 0, 1000);
  CHECK(strict.different > 0);
  CHECK(strict.wrong == strict.different);
  CHECK(plan_agreement(layer, other, method, request, 0.05, 1000).wrong == 0);
}

namespace {

ResultRow bench_row(const std::string& method, int tokens, double median, double half_width) {
  ResultRow row;
  row.kind = "bench";
  row.scope = "layer";
  row.method = method;
  row.geometry = Geometry{1, 1, tokens, tokens, 0, 64};
  row.device = "card";
  row.stats = {median, median - half_width, median + half_width, 20};
  row.extra["cache"] = "cold";
  return row;
}

}  // namespace

TEST_CASE("runs are compared by intervals and matched by configuration") {
  using Verdict = RunComparison::Verdict;
  const std::vector<ResultRow> before{bench_row("a", 1024, 100, 2), bench_row("b", 1024, 100, 2),
                                      bench_row("c", 1024, 100, 2), bench_row("a", 2048, 500, 2)};
  const std::vector<ResultRow> after{bench_row("c", 1024, 90, 2), bench_row("b", 1024, 103, 2),
                                     bench_row("a", 1024, 110, 2), bench_row("a", 4096, 500, 2)};
  const auto found = compare_runs(before, after);
  REQUIRE(found.size() == 3);
  CHECK(found[0].verdict == Verdict::faster);
  CHECK(found[1].verdict == Verdict::same);  // the intervals touch
  CHECK(found[2].verdict == Verdict::slower);
  CHECK(found[2].ratio == doctest::Approx(1.1));
  CHECK(compare_runs(before, after, 0.08)[2].verdict == Verdict::same);
}

TEST_CASE("a knob that a search found does not keep two runs apart, a different target does") {
  ResultRow row;
  row.kind = "bench";
  row.method = "anchor";
  row.target = Target{"stripe_density", "layer", 0.03};
  row.extra["knob"] = std::string("theta");
  row.stats = {100, 99, 101, 20};
  row.params = {{"theta", 3.1}, {"step", 1.}};
  const ResultRow before = row;
  row.params["theta"] = 3.2;
  const ResultRow after = row;
  row.target->value = 0.1;
  const ResultRow other = row;
  CHECK(compare_runs(std::vector{before}, std::vector{after}).size() == 1);
  CHECK(compare_runs(std::vector{before}, std::vector{other}).empty());
}
