#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/attention/reference.hpp"
#include "anchor/base/error.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "anchor/mass/curve.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "support/close.hpp"
#include "support/curve.hpp"
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

/// Methods with tiles of 32 rows, so that small problems have many.
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
      {"spargeattn", {{"sim", "0.02"}, {"pv", "inf"}}, "cdf", {"0", "0.3", "0.5", "0.8", "1"}},
      {"flashprefill",
       {{"block", "32"}, {"sink", "32"}, {"window", "40"}, {"pack", "head"}},
       "alpha",
       {"inf", "0.95", "0.8", "0.6", "0"}},
      {"flashprefill",
       {{"block", "32"}, {"sink", "32"}, {"window", "40"}, {"pack", "group"}},
       "alpha",
       {"1.5", "0.95", "0.8", "0.6", "0"}},
      {"flashprefill",
       {{"block", "32"}, {"sink", "0"}, {"window", "1"}, {"score", "mean"}},
       "alpha",
       {"2", "1", "0.8", "0.6", "0"}},
      {"block-oracle", {{"block", "32"}}, "mass", {"0", "0.3", "0.6", "0.9", "1"}},
      {"block-oracle", {{"block", "32"}, {"force_diagonal", "0"}}, "mass", {"0", "0.3", "0.6", "0.9", "1"}},
      {"stripe-oracle", {{"block", "16"}, {"step", "4"}}, "mass", {"0", "0.3", "0.6", "0.9", "1"}},
      {"stripes", {{"block", "32"}}, "theta", {"-inf", "1", "2", "4", "inf"}},
      {"stripes",
       {{"block", "32"}, {"score", "rows"}, {"window", "20"}},
       "theta",
       {"-inf", "1", "2", "4", "inf"}},
      {"stripes", {{"block", "32"}, {"score", "antidiagonal"}}, "theta", {"-inf", "1", "2", "4", "inf"}},
      {"stripes",
       {{"block", "32"}, {"score", "antidiagonal"}, {"window", "70"}, {"sink", "40"}},
       "theta",
       {"-inf", "1", "2", "4", "inf"}},
      {"sale", {}, "theta_h", {"inf", "0.5", "0.1", "0.01", "0"}},
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
    const auto random = golden_inputs(c.method == "sale" ? 1100 : 410, 16, 2, 1, 5);  // SALE is dense to 1024
    const auto inputs = engine->upload(group_of(random));
    const Method& method = find_method(c.method);
    const auto dense =
        engine->execute(*inputs, *engine->plan(find_method("dense"), {}, *inputs, 0, random.geometry.q_len));
    for (int head = 0; head < 2; ++head) {
      const Curve curve = test::full_curve(*engine, method, params_of(c.method, c.settings), *inputs, head);
      REQUIRE(curve.size() >= 8);
      std::vector<double> knobs{*parse_number(c.rising.front()), *parse_number(c.rising.back())};
      for (std::size_t n = 1; n < curve.size(); n += curve.size() / 7) {
        knobs.push_back(curve.knob[n]);
        knobs.push_back(std::nextafter(static_cast<float>(curve.knob[n]), curve.descending ? 1e30f : -1e30f));
        knobs.push_back(curve.knob[n] * 0.99);
      }
      for (const double knob : knobs) {
        PlanRequest request{params_of(c.method, c.settings), std::vector<double>(2, knob)};
        const SparsePlan listed = engine->plan(method, request, *inputs, 0, random.geometry.q_len)->to_host();
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
        plan("xattention", inputs, {{"block", "32"}, {"tau", "0.6"}}),
        plan("spargeattn", inputs, {{"sim", "0.03"}, {"cdf", "0.6"}}),
        plan("flashprefill", inputs, {{"block", "32"}, {"sink", "32"}, {"window", "40"}, {"alpha", "0.8"}}),
        plan("block-oracle", inputs, {{"block", "32"}, {"mass", "0.7"}}),
        plan("stripe-oracle", inputs, {{"block", "16"}, {"step", "4"}, {"mass", "0.7"}})};
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

TEST_CASE(
    "SpargeAttn: nothing similar is dense; all similar and cdf 1 keep every block; topk counts blocks") {
  const auto inputs = golden_inputs(700, 16, 1, 1, 2);
  CHECK(is_dense(plan("spargeattn", inputs, {{"sim", "1.5"}, {"cdf", "0"}})));
  CHECK(is_dense(plan("spargeattn", inputs, {{"sim", "-1"}, {"cdf", "1"}})));
  CHECK(is_dense(plan("spargeattn", golden_inputs(127, 16, 1, 1, 2), {{"cdf", "0"}})));
  const auto made = plan("spargeattn", inputs, {{"mode", "topk"}, {"topk", "0.4"}, {"sim", "-1"}});
  for (std::int64_t row = 0; row < made.rows(); ++row) {
    const std::size_t causal = std::min<std::size_t>(11, std::size_t(2 * (row + 1)));
    CHECK(made.blocks[row].size() == std::min<std::size_t>(4, causal));  // floor(0.4 * 11 blocks)
  }
  CHECK(made.pv_skip == 50.);
}

TEST_CASE("SALE: short prompts and theta 0 are dense; where int4 is exact, what is skipped is below theta") {
  CHECK(is_dense(plan("sale", golden_inputs(1024, 16, 1, 1, 2), {{"theta_h", "0.5"}})));
  auto inputs = golden_inputs(1300, 32, 1, 1, 2);
  CHECK(is_dense(plan("sale", inputs, {{"theta_h", "0"}})));

  // Codes themselves: whole numbers up to 7, one 7 in every row, rows in pairs of opposite sign (mean 0).
  for (auto* x : {&inputs.q, &inputs.k}) {
    for (std::size_t i = 0; i + 1 < 1300; i += 2) {
      for (std::size_t c = 0; c < 32; ++c) {
        const float value = c == i / 2 % 32 ? 7.f : std::round((*x)[i * 32 + c]);
        (*x)[i * 32 + c] = std::clamp(value, -7.f, 7.f);
        (*x)[(i + 1) * 32 + c] = -(*x)[i * 32 + c];
      }
    }
  }
  inputs.geometry.softmax_scale = 0.05;
  const double theta = 0.05;
  const auto made = plan("sale", inputs, {{"theta_h", "0.05"}, {"quant", "2"}});
  const auto rows = visible(made);
  std::size_t skipped = 0;
  double largest = 0;
  for (std::size_t i = 0; i < 1300; i += 7) {
    const std::int64_t tile = std::int64_t(i) / 64, blocks = std::min<std::int64_t>(41, 2 * (tile + 1));
    std::int64_t local = 4;
    while (local % 4 != (blocks - 1) % 4) ++local;
    const auto score = [&](std::size_t j) {
      double dot = 0;
      for (std::size_t c = 0; c < 32; ++c) dot += double{inputs.q[i * 32 + c]} * double{inputs.k[j * 32 + c]};
      return 0.05 * dot;
    };
    double partition = 0;
    for (std::size_t j = 0; j <= i; ++j) {
      if (j < 32 || std::int64_t(j) / 32 >= blocks - local) partition += std::exp(score(j));
    }
    for (std::size_t j = 0; j <= i; ++j) {
      if (rows[i][j]) continue;
      ++skipped;
      largest = std::max(largest, std::exp(score(j)) / partition);
    }
  }
  CHECK(skipped > 1000);
  CHECK(largest <= theta * (1 + 1e-5));
  CHECK(largest > theta / 10);
}

TEST_CASE(
    "FlashPrefill: alpha 0 is dense; packed heads share lists and equal single heads when there is one") {
  const auto inputs = golden_inputs(700, 16, 4, 2, 2);
  CHECK(is_dense(plan("flashprefill", inputs, {{"alpha", "0"}, {"block", "32"}})));
  const Settings small{{"alpha", "0.8"}, {"block", "32"}, {"sink", "32"}, {"window", "40"}};
  const auto with = [&](const test::RandomInputs& in, const char* pack) {
    Settings all = small;
    all.emplace_back("pack", pack);
    return plan("flashprefill", in, all);
  };
  const SparsePlan packed = with(inputs, "group");
  CHECK(packed.packed_heads == 2);
  CHECK(packed.q_tile == 16);
  CHECK(packed.mean_correction);
  const auto single = golden_inputs(700, 16, 2, 2, 2);
  CHECK(with(single, "group").blocks == with(single, "head").blocks);
  const auto three = golden_inputs(200, 16, 3, 1, 2);
  CHECK(with(three, "auto").packed_heads == 1);
  CHECK_THROWS_AS(with(three, "group"), Error);
}

TEST_CASE("mean correction: executors agree, l_set <= l_corrected <= l_dense, and equal keys make it exact") {
  for (const std::int64_t length : {129, 700}) {
    auto inputs = golden_inputs(length, 32, 4, 2, 7);
    for (const char* pack : {"group", "head"}) {
      const Settings settings{
          {"alpha", "0.9"}, {"block", "32"}, {"sink", "32"}, {"window", "40"}, {"pack", pack}};
      const SparsePlan made = plan("flashprefill", inputs, settings);
      const AttentionResult fast = cpu_attention(inputs.view(), made),
                            slow = reference_attention(inputs.view(), made),
                            dense = reference_attention(inputs.view());
      check_close(fast.out, slow.out, 2e-5);
      check_close(fast.lse, slow.lse, 2e-5);
      check_close(fast.lse_corrected, slow.lse_corrected, 2e-5);
      double gain = 0;
      for (std::size_t i = 0; i < dense.lse.size(); ++i) {
        REQUIRE(slow.lse[i] <= slow.lse_corrected[i]);
        REQUIRE(slow.lse_corrected[i] <= dense.lse[i] + 1e-6);
        gain = std::max(gain, slow.lse_corrected[i] - slow.lse[i]);
      }
      CHECK(gain > 0.1);
    }
    // Nothing pruned: nothing changes.
    const Settings all{{"alpha", "0"}, {"block", "32"}};
    const AttentionResult full = cpu_attention(inputs.view(), plan("flashprefill", inputs, all));
    check_close(full.lse, full.lse_corrected, 0);
    check_close(full.out, reference_attention(inputs.view()).out, 2e-5);
    // Equal keys within every block: the correction is exact.
    for (std::size_t n = 0; n < inputs.k.size(); ++n) {
      const std::size_t row = n / 32 % static_cast<std::size_t>(length),
                        head = n / 32 / static_cast<std::size_t>(length);
      inputs.k[n] = inputs.k[(head * static_cast<std::size_t>(length) + row / 32 * 32) * 32 + n % 32];
    }
    const SparsePlan made =
        plan("flashprefill", inputs, {{"alpha", "2"}, {"block", "32"}, {"sink", "0"}, {"window", "1"}});
    CHECK(plan_stats(made, 0).density() < 0.5);
    const AttentionResult corrected = cpu_attention(inputs.view(), made),
                          dense = reference_attention(inputs.view());
    check_close(corrected.out, dense.out, 2e-5);
    check_close(corrected.lse_corrected, dense.lse, 2e-5);
  }
}

TEST_CASE("pv_skip: executors agree, a far threshold changes nothing, a near one leaves mass out") {
  const auto inputs = golden_inputs(900, 32, 2, 1, 3);
  SparsePlan made = dense_plan(inputs.geometry, 64);
  const AttentionResult dense = cpu_attention(inputs.view(), made);
  double left_out = 0;
  for (const double distance : {1e6, 60., 6., 2.}) {
    made.pv_skip = distance;
    REQUIRE(validate(made) == "");
    const AttentionResult fast = cpu_attention(inputs.view(), made),
                          slow = reference_attention(inputs.view(), made);
    check_close(fast.out, slow.out, 2e-5);
    check_close(fast.lse, slow.lse, 2e-5);
    left_out = 0;
    for (std::size_t i = 0; i < dense.lse.size(); ++i) {
      REQUIRE(fast.lse[i] <= dense.lse[i] + 1e-6);
      left_out = std::max(left_out, dense.lse[i] - fast.lse[i]);
    }
    if (distance > 50) CHECK(left_out < 1e-6);
  }
  CHECK(left_out > 1e-4);
}

TEST_CASE("oracles: at equal counts no plan of their granularity keeps more mass") {
  const auto inputs = golden_inputs(500, 16, 1, 1, 4);
  const MassMap blocks = cpu_mass_map(inputs.view(), {0, 32, 32});
  const auto kept_mass = [&](const SparsePlan& made, std::int64_t row) {
    double sum = 0;
    for (const auto start : made.blocks[row])
      sum += double{blocks.block_mass[static_cast<std::size_t>(row * blocks.blocks() + start / 32)]};
    return sum;
  };
  const SparsePlan other = plan("block-sparse", inputs, {{"block", "32"}, {"topk", "4"}});
  const Settings free{{"block", "32"}, {"force_diagonal", "0"}};
  for (const char* mass : {"0.2", "0.5", "0.8", "0.95"}) {
    Settings settings = free;
    settings.emplace_back("mass", mass);
    const SparsePlan best = plan("block-oracle", inputs, settings);
    for (std::int64_t row = 0; row < best.rows(); ++row) {
      CHECK(kept_mass(best, row) >=
            std::stod(mass) * double(std::min<std::int64_t>(32, 500 - 32 * row)) - 1e-4);
      if (other.blocks[row].size() == best.blocks[row].size())
        CHECK(kept_mass(best, row) >= kept_mass(other, row) - 1e-6);
    }
  }

  const MassMap columns = cpu_mass_map(inputs.view(), {.group_rows = 64});
  const auto stripe_mass = [&](const SparsePlan& made) {
    double sum = 0;
    for (std::int64_t g = 0; g < made.groups(); ++g) {
      for (const auto j : made.columns[g]) sum += double{columns.column_row(g)[j]};
    }
    return sum;
  };
  const SparsePlan anchor = plan("anchor", inputs, {{"block", "16"}, {"step", "4"}, {"theta", "6"}});
  const SparsePlan oracle = plan("stripe-oracle", inputs, {{"block", "16"}, {"step", "4"}, {"mass", "0.9"}});
  CHECK(anchor.blocks == oracle.blocks);
  const double per_anchor = stripe_mass(anchor) / double(anchor.columns.items.size()),
               per_oracle = stripe_mass(oracle) / double(oracle.columns.items.size());
  CHECK(oracle.columns.items.size() > 20);
  if (oracle.columns.items.size() <= anchor.columns.items.size()) CHECK(per_oracle >= per_anchor);
}
