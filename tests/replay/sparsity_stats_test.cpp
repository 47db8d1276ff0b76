#include "anchor/replay/sparsity_stats.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "anchor/engine/cpu_engine.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "support/kv_group.hpp"

using namespace anchor;

namespace {

constexpr std::int64_t length = 160;
constexpr int dim = 16, heads = 3;

/// Scores of a row of a head in float64.
std::vector<double> scores(const FloatGroup& floats, int head, std::int64_t row) {
  const AttentionInputs in = floats.view();
  std::vector<double> all;
  for (std::int64_t j = 0; j <= row; ++j) {
    double sum = 0;
    for (int c = 0; c < dim; ++c)
      sum +=
          static_cast<double>(in.q[(head * length + row) * dim + c]) * static_cast<double>(in.k[j * dim + c]);
    all.push_back(sum * in.geometry.softmax_scale);
  }
  return all;
}

}  // namespace

TEST_CASE("sparsity statistics are what their definitions give by brute force") {
  const auto engine = make_cpu_engine();
  const KvGroup group = test::random_group(test::square(length, dim, heads, 1), DType::f32, 11);
  const FloatGroup floats(group);
  const auto inputs = engine->upload(group);
  const Method& method = find_method("anchor");
  PlanRequest request{default_params(method), {}};
  set_param(method, request.params, "block", "16");
  set_param(method, request.params, "step", "2");
  set_param(method, request.params, "theta", "4");
  const SparsePlan plan = engine->plan(method, request, *inputs, 0, length)->to_host();
  const std::vector<SparsityStats> found = sparsity_stats(*engine, *inputs, method, request);
  REQUIRE(found.size() == heads);

  double shared = 0, pairs = 0;
  for (int head = 0; head < heads; ++head) {
    CAPTURE(head);
    const SparsityStats& stats = found[static_cast<std::size_t>(head)];
    double sink = 0;
    RowMaxPlaces places;
    for (std::int64_t i = 0; i < length; ++i) {
      const std::vector<double> s = scores(floats, head, i);
      const double top = *std::max_element(s.begin(), s.end());
      double sum = 0;
      for (const double one : s) sum += std::exp(one - top);
      sink += std::exp(s[0] - top) / sum / length;
      const std::int64_t at = std::max_element(s.begin(), s.end()) - s.begin();
      const std::int64_t first = i / 32 * 32;  // of the row's group
      (at >= first - 16 ? places.local : at < 16 ? places.initial : places.elsewhere) += 1. / length;
    }
    CHECK(stats.sink_share == doctest::Approx(sink).epsilon(1e-4));
    CHECK(stats.row_max.initial + stats.row_max.local + stats.row_max.elsewhere == doctest::Approx(1));
    CHECK(stats.row_max.elsewhere == doctest::Approx(places.elsewhere));
    CHECK(stats.row_max.initial == doctest::Approx(places.initial));
    CHECK(stats.row_max.local == doctest::Approx(places.local));

    REQUIRE(stats.density_by_position.size() == 5);  // fewer groups than eighths
    std::int64_t kept = 0, listed = 0;
    for (std::int64_t g = 0; g < plan.groups(); ++g) {
      CHECK(stats.density_by_position[static_cast<std::size_t>(g)] == plan_stats(plan, head, g).density());
      if (g + 1 == plan.groups()) continue;
      const auto row = plan.columns[head * plan.groups() + g],
                 next = plan.columns[head * plan.groups() + g + 1];
      for (const std::int32_t key : row) {
        ++listed;
        kept += std::find(next.begin(), next.end(), key) != next.end();
      }
    }
    REQUIRE(listed > 0);
    CHECK(*stats.stripe_persistence ==
          doctest::Approx(static_cast<double>(kept) / static_cast<double>(listed)));
  }
  for (std::int64_t g = 0; g < plan.groups(); ++g) {
    std::set<std::int32_t> all;
    for (int head = 0; head < heads; ++head)
      for (const std::int32_t key : plan.columns[head * plan.groups() + g]) all.insert(key);
    for (std::int64_t i = g * 32; i < (g + 1) * 32; ++i)
      for (const std::int32_t key : all) shared += key <= i;
  }
  pairs = length * (length + 1) / 2.;
  for (const SparsityStats& stats : found)
    CHECK(*stats.shared_stripe_density == doctest::Approx(shared / pairs));
}

TEST_CASE("a plan without columns has no stripes to speak of") {
  const auto engine = make_cpu_engine();
  const auto inputs = engine->upload(test::random_group(test::square(100, dim, 2, 1), DType::f32));
  const Method& dense = find_method("dense");
  for (const SparsityStats& stats : sparsity_stats(*engine, *inputs, dense, {default_params(dense), {}})) {
    CHECK_FALSE(stats.stripe_persistence);
    CHECK_FALSE(stats.shared_stripe_density);
    for (const double density : stats.density_by_position) CHECK(density == 1);
  }
}
