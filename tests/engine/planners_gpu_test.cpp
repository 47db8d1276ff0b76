#include <doctest/doctest.h>

#include <algorithm>
#include <iterator>

#include "anchor/base/error.hpp"
#include "anchor/engine/devices.hpp"
#include "support/kv_group.hpp"

using namespace anchor;

namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

Params params_of(const Method& method, const Settings& settings) {
  Params params = default_params(method);
  for (const auto& [name, value] : settings) set_param(method, params, name, value);
  return params;
}

/// A method and a knob value. `less` and `more` are knobs so close that only rounding tells them apart,
/// between which nothing but borderline entries lies; empty where plans are not nested in the knob.
struct Planned {
  std::string method;
  Settings settings;
  std::string knob;
  double value = 0, less = 0, more = 0;
  bool nested = true;
};

const std::vector<Planned>& planned() {
  static const std::vector<Planned> all{
      {"streaming", {{"sink", "100"}, {"local", "300"}}, "local", 300, 300, 300},
      {"a-shape", {}, "local", 1, 1, 1},
      {"tri-shape", {{"sink", "128"}, {"last", "70"}}, "local", 500, 500, 500},
      {"vertical-slash", {{"slash", "150"}}, "vertical", 60, 60, 60, false},
      {"vertical-slash", {{"slash", "700"}, {"last", "128"}}, "vertical", 300, 300, 300, false},
      {"vertical-slash-blocks", {{"slash", "300"}}, "vertical", 200, 200, 200, false},
      {"vertical-slash-blocks", {{"slash", "300"}, {"block", "32"}}, "vertical", 200, 200, 200, false},
      {"block-sparse", {}, "topk", 5, 4, 6},
      {"block-sparse", {{"block", "32"}, {"rounding", "official"}}, "topk", 20, 19, 21},
      {"flexprefill", {{"tau", "0"}, {"min_budget", "128"}}, "gamma", 0.8, 0.8, 0.8, false},
      {"flexprefill", {{"tau", "1"}, {"min_budget", "0"}, {"block", "64"}}, "gamma", 0.7, 0.7, 0.7, false},
      {"shareprefill", {{"tau_qa", "1"}, {"min_budget", "256"}}, "gamma", 0.5, 0.5, 0.5, false},
      {"xattention", {}, "tau", 0.7, 0.6999, 0.7001},
      {"xattention", {{"stride", "8"}}, "tau", 0.9, 0.8999, 0.9001},
      {"xattention", {{"stride", "4"}}, "tau", 0, 0, 0},
      {"spargeattn", {{"sim", "-1"}}, "cdf", 0.6, 0.5999, 0.6001},
      {"spargeattn", {{"sim", "0.02"}, {"smooth_k", "0"}}, "cdf", 0.8, 0.7999, 0.8001},
      {"spargeattn", {{"mode", "topk"}}, "topk", 0.3, 0.3, 0.3, false},
      {"flashprefill", {{"correction", "0"}}, "alpha", 0.7, 0.701, 0.699},
      {"flashprefill", {{"correction", "0"}, {"pack", "head"}, {"block", "64"}}, "alpha", 0.6, 0.601, 0.599},
      {"flashprefill", {{"correction", "0"}, {"score", "mean"}}, "alpha", 0.7, 0.701, 0.699},
      {"flashprefill", {}, "alpha", 0, 0, 0},
      {"sale", {}, "theta_h", 0.1, 0.14, 0.07},
      {"sale", {{"quant", "2"}, {"window", "256"}}, "theta_h", 0.05, 0.07, 0.035},
      {"sale", {}, "theta_h", 0, 0, 0},
      {"block-oracle", {}, "mass", 0.8, 0.7999, 0.8001},
      {"block-oracle", {{"block", "64"}, {"force_diagonal", "0"}}, "mass", 0.6, 0.5999, 0.6001},
  };
  return all;
}

std::int64_t missing(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  std::vector<std::int32_t> difference;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(difference));
  return std::ssize(difference);
}

/// Entries of `a` that `b` lacks, over all rows.
std::int64_t missing(const SparsePlan& a, const SparsePlan& b) {
  std::int64_t count = 0;
  for (std::int64_t row = 0; row < a.rows(); ++row)
    count += missing(a.blocks[row], b.blocks[row]) + missing(a.columns[row], b.columns[row]);
  return count;
}

}  // namespace

TEST_CASE("planners on the device list what the CPU's do, but for entries within rounding of the knob") {
  struct Case {
    Geometry geometry;
    DType dtype;
  };
  const std::vector<Case> cases{
      {test::square(1, 64), DType::bf16},           {test::square(127, 128, 2, 1), DType::f16},
      {test::square(129, 64, 4, 2), DType::bf16},   {test::square(1024, 128, 4, 2), DType::bf16},
      {test::square(2113, 64, 3, 1), DType::bf16},  // a last tile of one row and one block
      {test::square(2900, 128, 2, 2), DType::f16},  {test::square(1500, 256, 2, 1), DType::bf16},
      {test::square(4160, 128, 4, 1), DType::bf16},
  };
  const auto engine = make_engine("cuda");
  std::int64_t entries = 0, different = 0;
  for (const Case& one : cases) {
    const KvGroup group = test::random_group(one.geometry, one.dtype, 5, 3);
    const FloatGroup floats(group);
    const auto inputs = engine->upload(group);
    for (const Planned& p : planned()) {
      CAPTURE(p.method);
      CAPTURE(p.settings.size());
      CAPTURE(p.value);
      CAPTURE(one.geometry.q_len);
      CAPTURE(one.geometry.head_dim);
      const Method& method = find_method(p.method);
      PlanRequest request{params_of(method, p.settings), {}};
      const auto expected = [&](double knob) {
        request.params.set(p.knob, knob);
        return method.plan_cpu(floats.view(), request);
      };
      request.params.set(p.knob, p.value);
      const PlanHandle handle = engine->plan(method, request, *inputs, 0, one.geometry.q_len);
      CHECK(handle->plan_path() == "cuda");
      const SparsePlan got = handle->to_host(), exact = expected(p.value);
      CHECK(validate(got) == "");
      REQUIRE(got.rows() == exact.rows());
      CHECK(got.q_tile == exact.q_tile);
      CHECK(got.kv_tile == exact.kv_tile);
      CHECK(got.window == exact.window);
      const std::int64_t wrong = missing(got, exact) + missing(exact, got);
      const std::int64_t all = std::ssize(exact.blocks.items) + std::ssize(exact.columns.items);
      entries += all;
      different += wrong;
      if (p.nested) {
        CHECK(missing(got, expected(p.more)) == 0);
        CHECK(missing(expected(p.less), got) == 0);
      }
      CHECK_MESSAGE(wrong <= 2 + all / 50, wrong << " of " << all << " entries differ");
    }
  }
  MESSAGE(different << " of " << entries << " entries differ");
  CHECK(different <= entries / 1000);
}

TEST_CASE("a device plan is the same every time, and a knob per head is each head's own") {
  const auto engine = make_engine("cuda");
  const KvGroup group = test::random_group(test::square(2100, 64, 4, 2), DType::bf16, 6, 3);
  const auto inputs = engine->upload(group);
  for (const Planned& p : planned()) {
    if (p.method == "flashprefill") continue;  // heads of a pack share their knob
    CAPTURE(p.method);
    const Method& method = find_method(p.method);
    PlanRequest request{params_of(method, p.settings), {}};
    const double other = p.value * 1.25;
    request.knobs = {p.value, other, other, p.value};
    const auto plan = [&] { return engine->plan(method, request, *inputs, 0, 2100)->to_host(); };
    const SparsePlan mixed = plan();
    CHECK(plan() == mixed);
    for (const double knob : {p.value, other}) {
      request.knobs = {knob, knob, knob, knob};
      const SparsePlan same = plan();
      for (std::int64_t row = 0; row < same.rows(); ++row) {
        const std::int64_t head = row / same.groups();
        if (((head == 1 || head == 2) ? other : p.value) != knob) continue;
        CHECK(std::ranges::equal(same.blocks[row], mixed.blocks[row]));
        CHECK(std::ranges::equal(same.columns[row], mixed.columns[row]));
      }
    }
  }
}

TEST_CASE("planners of whole prefills refuse chunks, and options without kernels name themselves") {
  const auto engine = make_engine("cuda");
  const KvGroup group = test::random_group(test::square(600, 64, 2, 1), DType::bf16, 7);
  const auto inputs = engine->upload(group);
  const Method& method = find_method("xattention");
  CHECK_THROWS_WITH_AS(engine->plan(method, {default_params(method), {}}, *inputs, 128, 600),
                       doctest::Contains("whole prefill"), Error);
  const Method& sparge = find_method("spargeattn");
  CHECK_THROWS_WITH_AS(engine->plan(sparge, {params_of(sparge, {{"pv", "20"}}), {}}, *inputs, 0, 600),
                       doctest::Contains("pv=inf"), Error);
  CHECK(engine->plan(method, {params_of(method, {{"rounding", "official"}}), {}}, *inputs, 0, 600)
            ->plan_path() == "cpu");
}
