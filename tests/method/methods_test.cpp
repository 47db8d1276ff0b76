#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/attention/reference.hpp"
#include "anchor/base/error.hpp"
#include "anchor/method/method.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "support/close.hpp"
#include "support/random.hpp"

using namespace anchor;
using test::check_close;
using test::random_inputs;
using test::square;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

PlanRequest request(const std::string& method, std::vector<std::pair<std::string, std::string>> values) {
  PlanRequest made{default_params(find_method(method)), {}};
  for (const auto& [name, value] : values) set_param(find_method(method), made.params, name, value);
  return made;
}

SparsePlan plan(const std::string& method, const AttentionInputs& inputs,
                std::vector<std::pair<std::string, std::string>> values = {}) {
  return find_method(method).plan_cpu(inputs, request(method, std::move(values)));
}

std::string error_of(const std::string& method, const std::string& name, const std::string& value) {
  try {
    request(method, {{name, value}});
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("every method plans every shape validly, deterministically, and without looking at V") {
  for (const Method& method : methods()) {
    for (const std::int64_t length : {1, 127, 128, 129, 256, 2047, 2049}) {
      auto inputs = random_inputs(square(length, 16, 2, 1), unsigned(length));
      const PlanRequest defaults{default_params(method), {}};
      const SparsePlan made = method.plan_cpu(inputs.view(), defaults);
      CAPTURE(method.name);
      CAPTURE(length);
      CHECK(validate(made) == "");
      const PlanStats stats = plan_stats(made, 1);
      CHECK(stats.visible_pairs <= stats.work_pairs);
      std::fill(inputs.v.begin(), inputs.v.end(), std::numeric_limits<float>::quiet_NaN());
      CHECK(method.plan_cpu(inputs.view(), defaults) == made);
    }
  }
}

TEST_CASE("windows: closed forms, and every method that reaches everything is dense") {
  const auto inputs = random_inputs(square(700, 32, 2, 1), 2);
  const AttentionResult dense = reference_attention(inputs.view());
  const std::int64_t sink = 37, local = 101;
  std::int64_t expected = 0;
  for (std::int64_t i = 0; i < 700; ++i) expected += std::min(i + 1, sink + local);
  CHECK(plan_stats(plan("streaming", inputs.view(), {{"sink", "37"}, {"local", "101"}}), 0).visible_pairs ==
        expected);
  CHECK(plan_stats(plan("a-shape", inputs.view(), {{"sink", "0"}, {"local", "1"}}), 0).visible_pairs == 700);
  for (std::int64_t i = 690; i < 700; ++i) expected += i + 1 - std::min(i + 1, sink + local);
  CHECK(plan_stats(plan("tri-shape", inputs.view(), {{"sink", "37"}, {"local", "101"}, {"last", "10"}}), 1)
            .visible_pairs == expected);

  const auto is_dense = [&](const SparsePlan& made) {
    CHECK(plan_stats(made, 1).visible_pairs == inputs.geometry.causal_pairs());
    check_close(cpu_attention(inputs.view(), made).out, dense.out, 2e-5);
  };
  is_dense(plan("dense", inputs.view()));
  is_dense(plan("streaming", inputs.view(), {{"local", "700"}, {"sink", "0"}}));
  is_dense(plan("a-shape", inputs.view(), {{"sink", "1k"}}));
  is_dense(plan("tri-shape", inputs.view(), {{"sink", "0"}, {"local", "1"}, {"last", "700"}}));
  is_dense(plan("topk", inputs.view(), {{"k", "700"}}));
  is_dense(plan("difference", inputs.view(), {{"theta", "inf"}}));
  is_dense(plan("cdf", inputs.view(), {{"mass", "1"}}));
}

TEST_CASE("heads of one window plan can have windows of their own") {
  const auto inputs = random_inputs(square(300, 16, 2, 1), 2);
  PlanRequest mixed = request("streaming", {{"sink", "10"}});
  mixed.knobs = {20, 300};
  const SparsePlan made = find_method("streaming").plan_cpu(inputs.view(), mixed);
  CHECK(validate(made) == "");
  CHECK(plan_stats(made, 0).visible_pairs < plan_stats(made, 1).visible_pairs);
  CHECK(plan_stats(made, 1).visible_pairs == inputs.geometry.causal_pairs());
  check_close(cpu_attention(inputs.view(), made).out, reference_attention(inputs.view(), made).out, 2e-5);
}

TEST_CASE(
    "row oracles: no set of that size beats top-k, cdf reaches its mass, difference keeps the maximum") {
  const auto inputs = random_inputs(square(200, 32), 9, 3);
  const auto dense = reference_attention(inputs.view());
  const auto recall = [&](const SparsePlan& made, std::size_t i) {
    return std::exp(reference_attention(inputs.view(), made).lse[i] - dense.lse[i]);
  };
  const SparsePlan top = plan("topk", inputs.view(), {{"k", "16"}});
  const SparsePlan window = plan("streaming", inputs.view(), {{"sink", "4"}, {"local", "12"}});
  const SparsePlan cdf = plan("cdf", inputs.view(), {{"mass", "0.9"}});
  const SparsePlan maximum = plan("difference", inputs.view(), {{"theta", "0"}});
  for (std::size_t i = 0; i < 200; i += 13) {
    CHECK(top.columns[std::int64_t(i)].size() == std::min<std::size_t>(16, i + 1));
    CHECK(recall(top, i) >= recall(window, i) - 1e-9);
    CHECK(recall(cdf, i) >= 0.9 - 1e-6);
    CHECK(maximum.columns[std::int64_t(i)].size() == 1);
  }
}

TEST_CASE("unknown names suggest the nearest, and values are checked") {
  CHECK_THROWS_WITH_AS(find_method("ancor"), "unknown method ancor; did you mean anchor?", Error);
  CHECK_THROWS_AS(find_method("zzzzzz"), Error);
  CHECK(error_of("anchor", "thetta", "1") == "method anchor has no parameter thetta; did you mean theta?");
  CHECK(error_of("dense", "theta", "1").find("no parameters") != std::string::npos);
  CHECK(error_of("anchor", "block", "0").find("[1,") != std::string::npos);
  CHECK(error_of("anchor", "step", "-1").find("[1,") != std::string::npos);
  CHECK(error_of("anchor", "step", "1.5").find("whole") != std::string::npos);
  CHECK(error_of("anchor", "mode", "clear") == "anchor.mode = clear: did you mean clean?");
  CHECK(error_of("anchor", "theta", "x").find("not a number") != std::string::npos);
  CHECK(error_of("anchor", "theta", "-inf") == "");
  CHECK(request("streaming", {{"local", "8k"}}).params.integer("local") == 8192);
}
