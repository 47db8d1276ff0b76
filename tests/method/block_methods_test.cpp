#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/attention/reference.hpp"
#include "anchor/base/error.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "anchor/sweep/curve.hpp"
#include "support/close.hpp"
#include "support/golden_inputs.hpp"

using namespace anchor;
using test::check_close;
using test::golden_inputs;
using test::square;

namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

Params params_of(const std::string& method, const Settings& settings) {
  Params params = default_params(find_method(method));
  for (const auto& [name, value] : settings) set_param(find_method(method), params, name, value);
  return params;
}

SparsePlan plan(const std::string& method, const test::RandomInputs& inputs, const Settings& settings) {
  const SparsePlan made = find_method(method).plan_cpu(inputs.view(), {params_of(method, settings), {}});
  CAPTURE(method);
  REQUIRE(validate(made) == "");
  return made;
}

bool is_dense(const SparsePlan& plan) {
  return plan_stats(plan, 0).visible_pairs == plan.geometry.causal_pairs();
}

/// What each query of head 0 sees, row after row.
std::vector<std::vector<bool>> visible(const SparsePlan& plan) {
  std::vector<std::vector<bool>> rows;
  for (std::int64_t i = 0; i < plan.geometry.q_len; ++i) {
    std::vector<bool> row(static_cast<std::size_t>(plan.geometry.kv_len), false);
    for (const auto start : plan.blocks[plan.row_of(0, i)]) {
      for (std::int64_t j = start; j < start + plan.block_width(start); ++j)
        row[static_cast<std::size_t>(j)] = j <= i;
    }
    for (const auto j : plan.columns[plan.row_of(0, i)]) row[static_cast<std::size_t>(j)] = j <= i;
    rows.push_back(row);
  }
  return rows;
}

bool contains(const SparsePlan& big, const SparsePlan& small) {
  const auto a = visible(big), b = visible(small);
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t j = 0; j < a[i].size(); ++j) {
      if (b[i][j] && !a[i][j]) return false;
    }
  }
  return true;
}

/// Methods with blocks of 32, so that small problems have many.
struct Case {
  std::string method;
  Settings settings;
  std::string knob;
  std::vector<std::string> rising;  ///< knob values that keep more and more
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"block-sparse", {{"block", "32"}}, "topk", {"1", "2", "5", "9", "100"}},
      {"xattention", {{"block", "32"}, {"stride", "8"}}, "tau", {"0", "0.3", "0.6", "0.9", "1"}},
  };
  return all;
}

KvGroup group_of(const test::RandomInputs& inputs) {
  const Geometry& g = inputs.geometry;
  return {.geometry = g,
          .q = Tensor::from_float(DType::f32, {g.q_heads, g.q_len, g.head_dim}, inputs.q),
          .k = Tensor::from_float(DType::f32, {g.kv_heads, g.kv_len, g.head_dim}, inputs.k),
          .v = Tensor::from_float(DType::f32, {g.kv_heads, g.kv_len, g.head_dim}, inputs.v)};
}

}  // namespace

TEST_CASE("more of the knob keeps a superset, and plans of any length around tiles are valid") {
  for (const Case& c : cases()) {
    for (const std::int64_t length : {1, 31, 32, 33, 64, 191, 300}) {
      const auto inputs = golden_inputs(length, 16, 1, 1, static_cast<unsigned>(length));
      std::vector<SparsePlan> plans;
      for (const std::string& value : c.rising) {
        Settings settings = c.settings;
        settings.emplace_back(c.knob, value);
        plans.push_back(plan(c.method, inputs, settings));
        CAPTURE(c.method);
        CAPTURE(value);
        if (plans.size() > 1) CHECK(contains(plans.back(), plans[plans.size() - 2]));
      }
    }
  }
}

TEST_CASE("exact curves equal replayed plans at 20 knob values, both ends and breakpoints") {
  const auto engine = make_cpu_engine();
  for (const Case& c : cases()) {
    const auto random = golden_inputs(410, 16, 2, 1, 5);
    const auto inputs = engine->upload(group_of(random));
    const Method& method = find_method(c.method);
    const auto dense =
        engine->execute(*inputs, *engine->plan(find_method("dense"), {}, *inputs, 0, random.geometry.q_len));
    for (int head = 0; head < 2; ++head) {
      const Curve curve =
          exact_curve(engine->critical(method, params_of(c.method, c.settings), *inputs, head));
      REQUIRE(curve.size() > 10);
      std::vector<double> knobs{*parse_number(c.rising.front()), *parse_number(c.rising.back())};
      for (std::size_t n = 1; n < curve.size(); n += curve.size() / 7) {
        knobs.push_back(curve.knob[n]);
        knobs.push_back(std::nextafter(static_cast<float>(curve.knob[n]), curve.descending ? 1e30f : -1e30f));
        knobs.push_back(curve.knob[n] * 0.99);
      }
      for (const double knob : knobs) {
        PlanRequest request{params_of(c.method, c.settings), std::vector<double>(2, knob)};
        const auto made = engine->plan(method, request, *inputs, 0, random.geometry.q_len);
        SparsePlan listed = made->to_host();
        const AttentionResult result = cpu_attention(random.view(), listed);
        double recall = 0;
        for (std::int64_t i = 0; i < random.geometry.q_len; ++i) {
          const auto at = static_cast<std::size_t>(head * random.geometry.q_len + i);
          recall += std::exp(result.lse[at] - dense.lse[at]) / static_cast<double>(random.geometry.q_len);
        }
        CAPTURE(c.method);
        CAPTURE(knob);
        CHECK(curve.density[curve.at(knob)] ==
              doctest::Approx(plan_stats(listed, head).density()).epsilon(1e-12));
        CHECK(std::abs(curve.mass_recall[curve.at(knob)] - recall) < 2e-5);
      }
    }
  }
}

TEST_CASE("planners that compare tiles with blocks refuse chunks") {
  const auto inputs = golden_inputs(256, 16, 1, 1, 1);
  for (const char* name :
       {"block-sparse", "vertical-slash", "vertical-slash-blocks", "flexprefill", "xattention"}) {
    const Method& method = find_method(name);
    CHECK_THROWS_AS(method.plan_cpu(inputs.view().rows(128, 256), {default_params(method), {}}), Error);
  }
}

TEST_CASE("scaling q up and k down by a power of two changes no plan") {
  auto inputs = golden_inputs(640, 32, 1, 1, 3);
  const auto plans = [&] {
    return std::vector<SparsePlan>{
        plan("block-sparse", inputs, {{"topk", "3"}}),
        plan("vertical-slash", inputs, {{"vertical", "50"}, {"slash", "104"}}),
        plan("vertical-slash-blocks", inputs, {{"vertical", "64"}, {"slash", "64"}, {"block", "32"}}),
        plan("flexprefill", inputs,
             {{"block", "32"}, {"min_budget", "64"}, {"gamma", "0.7"}, {"tau", "0.5"}}),
        plan("xattention", inputs, {{"block", "32"}, {"tau", "0.6"}})};
  };
  const auto before = plans();
  for (float& q : inputs.q) q *= 4;
  for (float& k : inputs.k) k /= 4;
  CHECK(plans() == before);
}

TEST_CASE("vertical-slash: all lines are dense; the plan covers its columns and distances") {
  for (const std::int64_t length : {1, 63, 64, 65, 300}) {
    const auto inputs = golden_inputs(length, 16, 1, 1, 2);
    CHECK(is_dense(plan("vertical-slash", inputs, {{"vertical", "300"}, {"slash", "300"}})));
    CHECK(is_dense(plan("vertical-slash-blocks", inputs, {{"block", "32"}})));
  }
  const auto inputs = golden_inputs(900, 16, 1, 1, 2);
  const auto rows = visible(plan("vertical-slash", inputs, {{"vertical", "40"}, {"slash", "101"}}));
  for (std::size_t i = 0; i < 900; ++i) {
    for (std::size_t j = 0; j < std::min<std::size_t>(30, i + 1); ++j) CHECK(rows[i][j]);
    for (std::size_t o = 0; o < std::min<std::size_t>(100, i + 1); ++o) CHECK(rows[i][i - o]);
  }
}

TEST_CASE(
    "FlexPrefill: gamma above 1 is dense; the diagonal and block 0 are always on; fixed budgets equal the "
    "block grid") {
  const auto inputs = golden_inputs(700, 32, 1, 1, 2);
  const Settings blocks{{"block", "32"}, {"min_budget", "64"}, {"tau", "0"}};
  const auto with = [&](const std::string& gamma, Settings more = {}) {
    Settings all = blocks;
    all.emplace_back("gamma", gamma);
    all.insert(all.end(), more.begin(), more.end());
    return plan("flexprefill", inputs, all);
  };
  CHECK(is_dense(with("1.5")));
  CHECK(!is_dense(with("0.5")));
  for (const auto& made : {with("0.5"), with("0.5", {{"tau", "1"}})}) {
    for (std::int64_t row = 0; row < made.rows(); ++row) {
      CHECK(made.blocks[row].front() == 0);
      CHECK(made.blocks[row].back() == row * 32);
    }
  }
  CHECK(with("0", {{"max_budget", "64"}}).blocks.items ==
        plan("vertical-slash-blocks", inputs, {{"block", "32"}, {"vertical", "64"}, {"slash", "64"}})
            .blocks.items);
  CHECK(contains(with("0.5", {{"min_budget", "128"}}), with("0.5")));
  CHECK_THROWS_AS(with("0.5", {{"max_budget", "32"}}), Error);
}

TEST_CASE(
    "XAttention: tau 0 keeps block 0 and the diagonal, tau 1 every block; stride 1 scores are the exact "
    "mass") {
  const auto inputs = golden_inputs(330, 16, 1, 1, 2);
  const auto none = plan("xattention", inputs, {{"tau", "0"}, {"block", "32"}});
  for (std::int64_t row = 0; row < none.rows(); ++row) CHECK(none.blocks[row].size() == (row == 0 ? 1u : 2u));
  CHECK(is_dense(plan("xattention", inputs, {{"tau", "1"}, {"block", "32"}})));
  CHECK_THROWS_AS(plan("xattention", inputs, {{"block", "24"}}), Error);

  // With stride 1 a tile keeps the fewest blocks that hold tau of its mass, {0, r} first.
  const auto made = plan("xattention", inputs, {{"tau", "0.8"}, {"block", "32"}, {"stride", "1"}});
  const MassMap mass = cpu_mass_map(inputs.view(), {0, 32, 32});
  for (std::int64_t row = 1; row < made.rows(); ++row) {
    double kept = 0, least = 1e30, total = 0;
    for (std::int64_t c = 0; c <= row; ++c)
      total += double{mass.block_mass[static_cast<std::size_t>(row * mass.blocks() + c)]};
    for (const auto start : made.blocks[row]) {
      const double m = mass.block_mass[static_cast<std::size_t>(row * mass.blocks() + start / 32)];
      kept += m;
      if (start != 0 && start != row * 32) least = std::min(least, m);
    }
    CHECK(kept >= 0.8 * total - 1e-4);
    if (least < 1e30) CHECK(kept - least < 0.8 * total + 1e-4);
  }
}
