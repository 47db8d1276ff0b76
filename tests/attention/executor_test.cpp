#include <doctest/doctest.h>

#include <limits>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/attention/reference.hpp"
#include "anchor/base/parallel.hpp"
#include "support/close.hpp"
#include "support/random.hpp"

using namespace anchor;
using test::check_close;
using test::random_inputs;
using test::random_plan;
using test::square;

namespace {

// Scores are float sums of up to 256 products of size about 1, so lse and out carry about 256 ulp of error at
// worst.
constexpr double tolerance = 2e-5;

/// Attention from the definition, without plans, in double.
AttentionResult textbook(const AttentionInputs& in) {
  const Geometry& g = in.geometry;
  AttentionResult result;
  for (int h = 0; h < g.q_heads; ++h) {
    for (std::int64_t i = 0; i < g.q_len; ++i) {
      std::vector<double> out(static_cast<std::size_t>(g.head_dim), 0);
      double sum = 0;
      for (std::int64_t j = 0; j < g.visible(i); ++j) {
        double dot = 0;
        for (int c = 0; c < g.head_dim; ++c)
          dot += double{in.q_row(h, i)[c]} * double{in.keys(h)[j * g.head_dim + c]};
        const double p = std::exp(dot * g.softmax_scale);
        sum += p;
        for (int c = 0; c < g.head_dim; ++c)
          out[static_cast<std::size_t>(c)] += p * double{in.values(h)[j * g.head_dim + c]};
      }
      for (const double o : out) result.out.push_back(static_cast<float>(o / sum));
      result.lse.push_back(std::log(sum));
    }
  }
  return result;
}

void check_same(const AttentionResult& actual, const AttentionResult& expected) {
  check_close(actual.lse, expected.lse, tolerance);
  check_close(actual.out, expected.out, tolerance);
}

}  // namespace

TEST_CASE("a full plan equals dense attention: both executors, lengths around tiles, grouped heads, chunks") {
  for (const int dim : {8, 64, 80, 96, 112, 128, 160, 192, 256}) {
    for (const std::int64_t length : {1, 127, 128, 129, 300}) {
      for (const auto& [q_heads, kv_heads] : {std::pair{1, 1}, {9, 1}, {4, 2}}) {
        if (dim != 64 && q_heads != 4) continue;
        const std::int64_t q_start = dim == 80 ? length / 2 : 0;
        const auto inputs = random_inputs(square(length, dim, q_heads, kv_heads, q_start));
        const AttentionResult expected = textbook(inputs.view());
        check_same(reference_attention(inputs.view()), expected);
        check_same(cpu_attention(inputs.view(), dense_plan(inputs.geometry)), expected);
        check_same(cpu_attention(inputs.view(), dense_plan(inputs.geometry, 33)), expected);
      }
    }
  }
}

TEST_CASE("the cpu executor equals the reference under any plan") {
  unsigned seed = 0;
  for (const std::int64_t length : {1, 65, 700, 1300}) {
    for (const auto& [q_tile, kv_tile, tiles] :
         {std::tuple{1, 8, 1}, {64, 32, 2}, {128, 128, 1}, {128, 100, 4}}) {
      for (const bool chunk : {false, true}) {
        const auto inputs = random_inputs(square(length, 64, 2, 1, chunk ? length / 2 : 0), ++seed);
        SparsePlan plan = random_plan(inputs.geometry, q_tile, kv_tile, tiles, seed);
        REQUIRE(validate(plan) == "");
        check_same(cpu_attention(inputs.view(), plan), reference_attention(inputs.view(), plan));
        plan.dup = plan.columns;
        REQUIRE(validate(plan) == "");
        check_same(cpu_attention(inputs.view(), plan), reference_attention(inputs.view(), plan));
        plan.window = SparsePlan::Window{.sink = 40, .local = {90, 7}, .dense_from = length - 30};
        check_same(cpu_attention(inputs.view(), plan), reference_attention(inputs.view(), plan));
      }
    }
  }
}

TEST_CASE("keys that no row lists cannot reach the result, whatever they hold") {
  auto inputs = random_inputs(square(500, 64));
  SparsePlan plan = random_plan(inputs.geometry, 64, 32, 2, 3);
  std::vector<bool> listed(500, false);
  for (const auto start : plan.blocks.items) {
    for (std::int64_t j = start; j < start + plan.block_width(start); ++j)
      listed[static_cast<std::size_t>(j)] = true;
  }
  for (const auto j : plan.columns.items) listed[static_cast<std::size_t>(j)] = true;
  const AttentionResult clean = cpu_attention(inputs.view(), plan);
  bool poisoned = false;
  for (std::size_t j = 0; j < 500; ++j) {
    if (listed[j]) continue;
    poisoned = true;
    std::fill_n(inputs.k.begin() + static_cast<std::ptrdiff_t>(j) * 64, 64,
                std::numeric_limits<float>::quiet_NaN());
    std::fill_n(inputs.v.begin() + static_cast<std::ptrdiff_t>(j) * 64, 64,
                std::numeric_limits<float>::quiet_NaN());
  }
  REQUIRE(poisoned);
  CHECK(cpu_attention(inputs.view(), plan).out == clean.out);
}

TEST_CASE("a row that sees no key has out 0 and lse -inf") {
  const auto inputs = random_inputs(square(40, 16));
  SparsePlan plan{.geometry = inputs.geometry, .q_tile = 16, .kv_tile = 8};
  plan.blocks = {{0, 0, 1, 1},
                 {24}};  // tile 0: nothing; tile 1 sees 24.. (rows 16-23 nothing); tile 2: nothing
  plan.columns = {{0, 0, 0, 0}, {}};
  const AttentionResult result = cpu_attention(inputs.view(), plan);
  check_same(result, reference_attention(inputs.view(), plan));
  CHECK(result.lse[0] == -std::numeric_limits<double>::infinity());
  CHECK(result.out[23 * 16] == 0);
  CHECK(std::isfinite(result.lse[24]));
}

TEST_CASE("constant values come out unchanged, and more keys never lower lse") {
  auto inputs = random_inputs(square(400, 64, 2, 1));
  std::fill(inputs.v.begin(), inputs.v.end(), 0.75f);
  SparsePlan plan = random_plan(inputs.geometry, 32, 16, 2, 5);
  plan.dup = plan.columns;
  const AttentionResult sparse = cpu_attention(inputs.view(), plan);
  for (const float o : sparse.out) REQUIRE(o == doctest::Approx(0.75).epsilon(1e-6));
  const AttentionResult dense = cpu_attention(inputs.view(), dense_plan(inputs.geometry));
  for (std::size_t i = 0; i < dense.lse.size(); ++i) REQUIRE(sparse.lse[i] <= dense.lse[i] + 1e-5);
}

TEST_CASE("results do not depend on the number of threads") {
  const auto inputs = random_inputs(square(700, 64, 2, 2));
  const SparsePlan plan = random_plan(inputs.geometry, 128, 64, 2, 9);
  set_threads(1);
  const AttentionResult one = cpu_attention(inputs.view(), plan);
  set_threads(4);
  const AttentionResult four = cpu_attention(inputs.view(), plan);
  set_threads(0);
  CHECK(one.out == four.out);
  CHECK(one.lse == four.lse);
}
