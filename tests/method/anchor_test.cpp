#include <doctest/doctest.h>

#include <limits>
#include <numeric>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/attention/reference.hpp"
#include "anchor/base/dtype.hpp"
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

PlanRequest request(double theta, int block, int step, const std::string& mode = "clean",
                    const std::string& tail = "auto", const std::string& anchor = "window") {
  PlanRequest made{default_params(find_method("anchor")), {}};
  made.params.set("theta", theta);
  made.params.set("block", double(block));
  made.params.set("step", double(step));
  made.params.set("mode", mode);
  made.params.set("tail", tail);
  made.params.set("anchor", anchor);
  return made;
}

SparsePlan plan(const AttentionInputs& inputs, const PlanRequest& request) {
  return find_method("anchor").plan_cpu(inputs, request);
}

double score(const AttentionInputs& in, int head, std::int64_t i, std::int64_t j) {
  double dot = 0;
  for (int c = 0; c < in.geometry.head_dim; ++c)
    dot += double{in.q_row(head, i)[c]} * double{in.keys(head)[j * in.geometry.head_dim + c]};
  return dot * in.geometry.softmax_scale;
}

/// The rule as the paper's section reads, pair by pair in double: which keys query row i sees (weights, 2 =
/// doubled).
std::vector<int> direct(const AttentionInputs& in, int head, std::int64_t i, double theta, std::int64_t b,
                        std::int64_t p, bool v4) {
  const std::int64_t n = in.geometry.q_start + in.geometry.q_len, s = b * p, pos = in.geometry.q_start + i,
                     g = pos / s;
  std::vector<int> weights(static_cast<std::size_t>(n), 0);
  const auto in_anchor = [&](std::int64_t at, std::int64_t j) {
    if (j > at) return false;
    if (g == 0 || (v4 && n % s != 0 && g == n / s)) return true;
    return v4 ? j < s || j >= g * s : j < b || j >= g * s - b;
  };
  for (std::int64_t j = 0; j <= pos; ++j) weights[static_cast<std::size_t>(j)] = in_anchor(pos, j);
  if (g == 0 || (v4 && n % s != 0 && g == n / s)) return weights;
  for (std::int64_t u = g * s; u < std::min(n, (g + 1) * s); u += b) {
    const std::int64_t rows = std::min(b, n - u);
    double anchor_mean = 0;
    std::vector<double> q(static_cast<std::size_t>(in.geometry.head_dim), 0);
    for (std::int64_t r = u; r < u + rows; ++r) {
      double best = -infinity;
      for (std::int64_t j = 0; j <= r; ++j) {
        if (in_anchor(r, j)) best = std::max(best, score(in, head, r - in.geometry.q_start, j));
      }
      anchor_mean += best / double(rows);
      for (std::size_t c = 0; c < q.size(); ++c)
        q[c] += double{in.q_row(head, r - in.geometry.q_start)[c]} / double(rows);
    }
    for (std::int64_t j = b; j < g * s - b; ++j) {
      double z = 0;
      for (std::size_t c = 0; c < q.size(); ++c)
        z += q[c] * double{in.keys(head)[j * in.geometry.head_dim + std::int64_t(c)]};
      if (anchor_mean - z * in.geometry.softmax_scale <= theta) {
        auto& weight = weights[static_cast<std::size_t>(j)];
        weight = std::max(weight, v4 && j < s ? 2 : 1);
      }
    }
  }
  return weights;
}

std::vector<int> weights_of(const SparsePlan& plan, int head, std::int64_t i) {
  std::vector<int> weights(static_cast<std::size_t>(plan.geometry.kv_len), 0);
  const std::int64_t row = plan.row_of(head, i), pos = plan.geometry.q_start + i;
  for (const auto start : plan.blocks[row]) {
    for (std::int64_t j = start; j < start + plan.block_width(start); ++j)
      weights[static_cast<std::size_t>(j)] = j <= pos;
  }
  for (const auto j : plan.columns[row]) weights[static_cast<std::size_t>(j)] = j <= pos;
  if (plan.dup.rows() > 0) {
    for (const auto j : plan.dup[row]) weights[static_cast<std::size_t>(j)] = j <= pos ? 2 : 0;
  }
  return weights;
}

}  // namespace

TEST_CASE(
    "plans are valid and equal the rule read pair by pair, up to scores within rounding of the threshold") {
  unsigned seed = 0;
  std::int64_t differences = 0, pairs = 0, selected = 0;
  for (const auto& [b, p] : {std::pair{16, 4}, {16, 1}, {32, 2}, {1, 8}, {24, 3}}) {
    const std::int64_t s = std::int64_t{b} * p;
    for (const std::int64_t length :
         {std::int64_t{1}, s - 1, s, s + 1, 2 * s, 3 * s, 3 * s + 1, 3 * s + b / 2 + 1}) {
      if (length < 1) continue;
      for (const bool v4 : {false, true}) {
        for (const std::int64_t q_start : {std::int64_t{0}, s}) {
          if (q_start >= length) continue;
          const auto inputs = random_inputs(square(length, 16, 2, 1, q_start), ++seed, 3);
          const double theta = double(seed % 5) + 3;
          const SparsePlan made = plan(inputs.view(), request(theta, b, p, v4 ? "v4" : "clean"));
          REQUIRE(validate(made) == "");
          selected += plan_stats(made, 1).stripe_pairs;
          for (std::int64_t i = 0; i < inputs.geometry.q_len; ++i) {
            const auto actual = weights_of(made, 1, i),
                       expected = direct(inputs.view(), 1, i, theta, b, p, v4);
            for (std::size_t j = 0; j < actual.size(); ++j) {
              if (std::int64_t(j) > q_start + i) continue;
              differences += actual[j] != expected[j];
              ++pairs;
            }
          }
        }
      }
    }
  }
  CHECK(pairs > 100000);
  CHECK(selected > 10000);
  CHECK(differences <= pairs / 20000);  // float against double at the threshold
}

TEST_CASE(
    "theta = inf is dense attention in clean mode and is not in v4; theta = -inf keeps the anchor region "
    "alone") {
  for (const std::int64_t length : {200, 256, 300, 520}) {
    const auto inputs = random_inputs(square(length, 32, 4, 2), unsigned(length));
    const AttentionResult dense = reference_attention(inputs.view());
    const SparsePlan all = plan(inputs.view(), request(infinity, 16, 4));
    CHECK(plan_stats(all, 3).visible_pairs == inputs.geometry.causal_pairs());
    check_close(cpu_attention(inputs.view(), all).out, dense.out, 2e-5);
    check_close(cpu_attention(inputs.view(), all).lse, dense.lse, 2e-5);

    const SparsePlan v4 = plan(inputs.view(), request(infinity, 16, 4, "v4"));
    CHECK(validate(v4) == "");
    const AttentionResult doubled = cpu_attention(inputs.view(), v4);
    double difference = 0;
    for (std::size_t i = 0; i < dense.out.size(); ++i)
      difference = std::max(difference, std::abs(double{doubled.out[i]} - double{dense.out[i]}));
    CHECK(difference > 0.01);
    for (std::size_t i = 0; i < dense.lse.size(); ++i) REQUIRE(doubled.lse[i] <= dense.lse[i] + 1e-5);

    const SparsePlan none = plan(inputs.view(), request(-infinity, 16, 4));
    CHECK(none.columns.items.empty());
  }
}

TEST_CASE("pairs of the anchor region follow the closed form") {
  for (const auto& [b, p] : {std::pair{16, 4}, {16, 16}, {32, 2}}) {
    const std::int64_t s = std::int64_t{b} * p;
    for (const std::int64_t n : {1, 2, 5}) {
      const auto inputs = random_inputs(square(n * s, 8));
      const auto stats = plan_stats(plan(inputs.view(), request(-infinity, b, p)), 0);
      CHECK(stats.visible_pairs == n * s * (s + 1) / 2 + (n - 1) * 2 * b * s);
      const auto v4 = plan_stats(plan(inputs.view(), request(-infinity, b, p, "v4")), 0);
      CHECK(v4.visible_pairs == n * s * (s + 1) / 2 + (n - 1) * s * s);
    }
    const std::int64_t r = b + 3;  // a partial group
    const auto inputs = random_inputs(square(2 * s + r, 8));
    const auto pairs = [&](const char* tail) {
      return plan_stats(plan(inputs.view(), request(-infinity, b, p, "clean", tail)), 0).visible_pairs;
    };
    const std::int64_t full = 2 * s * (s + 1) / 2 + 2 * b * s;
    CHECK(pairs("sparse") == full + r * (r + 1) / 2 + 2 * b * r);
    CHECK(pairs("dense") == full + r * 2 * s + r * (r + 1) / 2);
  }
}

TEST_CASE("selection grows with theta, shrinks with a global anchor, and each head follows its own theta") {
  const auto inputs = random_inputs(square(512, 32, 3, 1), 5, 3);
  const SparsePlan low = plan(inputs.view(), request(5, 16, 4)),
                   high = plan(inputs.view(), request(7, 16, 4));
  const SparsePlan global = plan(inputs.view(), request(7, 16, 4, "clean", "auto", "global"));
  CHECK(low.columns.items.size() < high.columns.items.size());
  for (std::int64_t row = 0; row < low.rows(); ++row) {
    const auto contains = [](std::span<const std::int32_t> big, std::span<const std::int32_t> small) {
      return std::includes(big.begin(), big.end(), small.begin(), small.end());
    };
    CHECK(contains(high.columns[row], low.columns[row]));
    CHECK(contains(high.columns[row], global.columns[row]));
  }
  PlanRequest mixed = request(0, 16, 4);
  mixed.knobs = {5, 7, -infinity};
  const SparsePlan per_head = plan(inputs.view(), mixed);
  for (std::int64_t g = 0; g < per_head.groups(); ++g) {
    CHECK(std::ranges::equal(per_head.columns[g], low.columns[g]));
    CHECK(std::ranges::equal(per_head.columns[per_head.groups() + g], high.columns[per_head.groups() + g]));
    CHECK(per_head.columns[2 * per_head.groups() + g].empty());
  }
}

TEST_CASE(
    "scaling q up and k down by a power of two changes nothing; a chunk has the rows of the whole plan") {
  auto inputs = random_inputs(square(640, 32, 2, 1), 8, 3);
  const SparsePlan whole = plan(inputs.view(), request(6, 16, 4));
  const SparsePlan chunk = plan(inputs.view().rows(192, 640), request(6, 16, 4));
  for (int head = 0; head < 2; ++head) {
    for (std::int64_t g = 0; g < chunk.groups(); ++g) {
      CHECK(std::ranges::equal(chunk.columns[head * chunk.groups() + g],
                               whole.columns[head * whole.groups() + g + 3]));
      CHECK(std::ranges::equal(chunk.blocks[head * chunk.groups() + g],
                               whole.blocks[head * whole.groups() + g + 3]));
    }
  }
  CHECK_THROWS_AS(plan(inputs.view().rows(100, 640), request(6, 16, 4)), Error);
  for (float& q : inputs.q) q *= 4;
  for (float& k : inputs.k) k /= 4;
  CHECK(plan(inputs.view(), request(6, 16, 4)) == whole);
}

TEST_CASE("with blocks of one row, a query sees all that lies within theta of its maximum") {
  const auto inputs = random_inputs(square(96, 16), 4, 3);
  const SparsePlan rows = plan(inputs.view(), request(1.5, 1, 8));
  PlanRequest difference{default_params(find_method("difference")), {1.5}};
  const SparsePlan oracle = find_method("difference").plan_cpu(inputs.view(), difference);
  for (std::int64_t i = 0; i < 96; ++i) {
    const auto mine = weights_of(rows, 0, i), theirs = weights_of(oracle, 0, i);
    for (std::size_t j = 0; j < mine.size(); ++j) CHECK(mine[j] >= theirs[j]);
  }
}

TEST_CASE("rounding=official compares in log2 units with the released kernels' bfloat16 steps") {
  auto inputs = random_inputs(square(300, 32), 21);
  for (auto* values : {&inputs.q, &inputs.k})
    for (float& x : *values) x = round_bf16(x);
  constexpr std::int64_t b = 16, s = 64;
  constexpr float log2e = 1.44269504f;
  PlanRequest made = request(4.5, b, s / b);
  made.params.set("rounding", "official");
  const SparsePlan got = plan(inputs.view(), made);
  CHECK(validate(got) == "");
  const Geometry& g = inputs.geometry;
  const auto sigma = static_cast<float>(g.softmax_scale);
  const auto dot = [&](const std::vector<float>& q, std::int64_t j) {
    float sum = 0;
    for (int c = 0; c < g.head_dim; ++c)
      sum += q[static_cast<std::size_t>(c)] * inputs.k[static_cast<std::size_t>(j * g.head_dim + c)];
    return sum;
  };
  std::int64_t different = 0, compared = 0;
  for (std::int64_t group = 1; group < got.groups(); ++group) {
    std::vector<std::int32_t> expected;
    std::vector<bool> on(300, false);
    for (std::int64_t first = group * s; first < std::min(g.q_len, (group + 1) * s); first += b) {
      const std::int64_t rows = std::min(b, g.q_len - first);
      std::vector<float> mean(static_cast<std::size_t>(g.head_dim), 0);
      float anchor = 0;
      for (std::int64_t i = first; i < first + rows; ++i) {
        std::vector<float> q(inputs.view().q_row(0, i), inputs.view().q_row(0, i) + g.head_dim);
        for (std::size_t c = 0; c < q.size(); ++c) {
          mean[c] += q[c] / static_cast<float>(rows);
          q[c] = round_bf16(round_bf16(q[c] * round_bf16(sigma)) * round_bf16(log2e));
        }
        float top = -std::numeric_limits<float>::infinity();
        for (std::int64_t j = 0; j <= i; ++j)
          if (j < b || j >= group * s - b) top = std::max(top, dot(q, j));
        anchor += top / static_cast<float>(rows);
      }
      for (float& x : mean) x = round_bf16(x);
      for (std::int64_t j = b; j < group * s - b; ++j)
        if (round_bf16(dot(mean, j) * (sigma * log2e)) + 4.5f * log2e >= round_bf16(anchor))
          on[static_cast<std::size_t>(j)] = true;
    }
    const auto columns = got.columns[group];
    for (std::int32_t j = 0; j < 300; ++j) {
      const bool listed = std::binary_search(columns.begin(), columns.end(), j);
      different += listed != on[static_cast<std::size_t>(j)];
      compared += listed;
    }
  }
  CHECK(compared > 50);
  CHECK(different <= 2);  // sums in another order may step over a rounding boundary
  CHECK_THROWS_AS(find_method("anchor").granularity(made.params, g), Error);
}
