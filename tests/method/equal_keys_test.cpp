// Keys that are equal bit for bit have equal scores, wherever they lie: what a planner makes of one it makes
// of all, ties go by index, and permuting keys permutes scores.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "anchor/base/aligned.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/mass/curve.hpp"
#include "anchor/method/method.hpp"
#include "support/random.hpp"

using namespace anchor;

namespace {

/// Heads whose keys are one key again and again.
test::RandomInputs one_key(std::int64_t length, int dim) {
  test::RandomInputs inputs = test::random_inputs(test::square(length, dim));
  const auto width = static_cast<std::size_t>(dim);
  for (std::size_t at = width; at < inputs.k.size(); ++at) inputs.k[at] = inputs.k[at % width];
  return inputs;
}

SparsePlan plan_of(const char* name, const AttentionInputs& inputs,
                   std::initializer_list<std::pair<const char*, const char*>> settings) {
  const Method& method = find_method(name);
  PlanRequest request{default_params(method), {}};
  for (const auto& [key, value] : settings) set_param(method, request.params, key, value);
  return method.plan_cpu(inputs, request);
}

}  // namespace

TEST_CASE("a product is one chain of fused multiply-adds, in every variant, shape and place") {
  std::mt19937 rng(3);
  std::normal_distribution<float> normal;
  for (const std::int64_t k : {1, 3, 64, 100, 300, 513}) {
    const std::int64_t lda = k + 5, ldb = k + 3;
    AlignedVector<float> a(static_cast<std::size_t>(20 * lda)), b(static_cast<std::size_t>(150 * ldb));
    for (float& x : a) x = normal(rng);
    for (float& x : b) x = normal(rng);
    for (const std::int64_t m : {1, 2, 7, 8, 9, 20}) {
      for (const std::int64_t n : {1, 5, 16, 33, 64, 131, 150}) {
        for (const MatrixOps* ops : matrix_variants()) {
          const std::int64_t ldc = n + 2;
          std::vector<float> c(static_cast<std::size_t>(m * ldc), 7.f);
          std::vector<double> wide(c.size(), 7);
          ops->gemm_nt(m, n, k, 0.3f, a.data(), lda, b.data(), ldb, c.data(), ldc);
          ops->gemm_nt_wide(m, n, k, 0.3, a.data(), lda, b.data(), ldb, wide.data(), ldc);
          bool same = true;
          for (std::int64_t i = 0; i < m; ++i) {
            for (std::int64_t j = 0; j < ldc; ++j) {
              float sum = 0;
              double exact = 0;
              for (std::int64_t l = 0; l < k && j < n; ++l) {
                const float x = a[static_cast<std::size_t>(i * lda + l)],
                            y = b[static_cast<std::size_t>(j * ldb + l)];
                sum = std::fma(x, y, sum);
                exact = std::fma(static_cast<double>(x), static_cast<double>(y), exact);
              }
              const auto at = static_cast<std::size_t>(i * ldc + j);
              same = same && c[at] == (j < n ? sum * 0.3f : 7.f) && wide[at] == (j < n ? exact * 0.3 : 7.);
            }
          }
          CAPTURE(ops->isa);
          CAPTURE(m);
          CAPTURE(n);
          CAPTURE(k);
          REQUIRE(same);
        }
      }
    }
  }
}

TEST_CASE("top-k takes the lowest of equal keys, theta 0 and any mass all of them") {
  for (const auto& [length, dim] : {std::pair<std::int64_t, int>{700, 64}, {513, 64}, {260, 32}, {90, 20}}) {
    const test::RandomInputs inputs = one_key(length, dim);
    const SparsePlan lowest = plan_of("topk", inputs.view(), {{"k", "16"}});
    const SparsePlan nearest = plan_of("difference", inputs.view(), {{"theta", "0"}});
    const SparsePlan tied = plan_of("cdf", inputs.view(), {{"mass", "0.1"}});
    for (std::int64_t i = 0; i < length; ++i) {
      const auto columns = lowest.columns[i];
      REQUIRE(std::ssize(columns) == std::min<std::int64_t>(16, i + 1));
      REQUIRE(columns.back() == std::ssize(columns) - 1);
      REQUIRE(std::ssize(nearest.columns[i]) == i + 1);
      REQUIRE(std::ssize(tied.columns[i]) == i + 1);
    }
  }
}

TEST_CASE("anchor, block 1: theta 0 keeps what ties with the anchor, in the plan and in the curve") {
  const test::RandomInputs inputs = one_key(200, 64);
  const SparsePlan plan = plan_of("anchor", inputs.view(), {{"block", "1"}, {"step", "1"}, {"theta", "0"}});
  std::int64_t kept = 0;
  for (std::int64_t row = 0; row < plan.rows(); ++row) {
    kept += std::ssize(plan.columns[row]);
    for (const std::int32_t start : plan.blocks[row]) kept += plan.block_width(start);
  }
  CHECK(kept == 200 * 201 / 2);
  const Method& method = find_method("anchor");
  Params params = default_params(method);
  set_param(method, params, "block", "1");
  set_param(method, params, "step", "1");
  const Curve curve = exact_curve(method.critical_cpu(
      inputs.view(), 0, params, cpu_mass_map(inputs.view(), method.granularity(params, inputs.geometry))));
  CHECK(curve.density[curve.at(0)] == 1);
  CHECK(curve.mass_recall[curve.at(0)] == doctest::Approx(1));
}

TEST_CASE("every threshold method gives equal candidates of a plan row one critical value") {
  const test::RandomInputs inputs = one_key(640, 32);
  for (const auto& [name, block] : {std::pair{"anchor", "32"},
                                    {"stripes", "32"},
                                    {"xattention", "32"},
                                    {"flashprefill", "32"},
                                    {"spargeattn", ""}}) {
    CAPTURE(name);
    const Method& method = find_method(name);
    Params params = default_params(method);
    if (*block != 0) set_param(method, params, "block", block);
    if (params.values().contains("step")) set_param(method, params, "step", "4");
    if (params.values().contains("sim")) set_param(method, params, "sim", "-1");
    const MassMap mass = cpu_mass_map(inputs.view(), method.granularity(params, inputs.geometry));
    const CriticalItems items = method.critical_cpu(inputs.view(), 0, params, mass);
    for (const float knob : items.knob) REQUIRE_FALSE(std::isnan(knob));
    CHECK_NOTHROW(exact_curve(items));
  }
  // One list per tile, one product per key: all columns of a tile enter together.
  const Method& method = find_method("stripes");
  Params params = default_params(method);
  set_param(method, params, "block", "32");
  const MassMap mass = cpu_mass_map(inputs.view(), method.granularity(params, inputs.geometry));
  const CriticalItems items = method.critical_cpu(inputs.view(), 0, params, mass);
  std::size_t at = 0;
  for (std::int64_t tile = 1; tile < 20; ++tile) {
    const auto candidates = static_cast<std::size_t>(tile * 32 - 4);
    for (std::size_t n = 1; n < candidates; ++n) REQUIRE(items.knob[at + n] == items.knob[at]);
    at += candidates;
  }
  CHECK(at == items.knob.size());
}

TEST_CASE("permuting the keys of a row permutes what top-k takes of it") {
  const std::int64_t length = 333;
  test::RandomInputs inputs = test::random_inputs(test::square(length, 48), 4);
  test::RandomInputs permuted = inputs;
  std::vector<std::int32_t> to(static_cast<std::size_t>(length));
  std::iota(to.begin(), to.end(), 0);
  std::shuffle(to.begin(), to.end(), std::mt19937(5));
  for (std::size_t j = 0; j < to.size(); ++j)
    std::copy_n(inputs.k.begin() + static_cast<std::ptrdiff_t>(j * 48), 48,
                permuted.k.begin() + static_cast<std::ptrdiff_t>(to[j]) * 48);
  const SparsePlan a = plan_of("topk", inputs.view(), {{"k", "40"}});
  const SparsePlan b = plan_of("topk", permuted.view(), {{"k", "40"}});
  std::vector<std::int32_t> moved;
  for (const std::int32_t j : a.columns[length - 1]) moved.push_back(to[static_cast<std::size_t>(j)]);
  std::sort(moved.begin(), moved.end());
  CHECK(std::ranges::equal(moved, b.columns[length - 1]));
}
