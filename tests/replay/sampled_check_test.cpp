#include "anchor/replay/sampled_check.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "anchor/attention/reference.hpp"
#include "anchor/method/method.hpp"
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

TEST_CASE("the sampled check sees a thousandth of the mass, and part of a row that looks at everything") {
  KvGroup group = test::random_group(test::square(2000, 64), DType::bf16, 1, 0.05f);  // nearly uniform rows
  const FloatGroup floats(group);
  const SparsePlan plan = dense_plan(group.geometry);
  const std::vector<QueryRow> rows{{0, 1999}};
  const AttentionResult good = pick(reference_attention(floats.view(), plan), rows, group.geometry);
  CHECK(sampled_error(group, plan, rows, good, DType::bf16).ok());

  AttentionResult less = good;  // 0.09 % of the mass
  less.lse[0] += std::log1p(-0.0009);
  CHECK_FALSE(sampled_error(group, plan, rows, less, DType::bf16).ok());

  SparsePlan part = plan;  // 30 % of the row, and a normaliser that does not say so
  part.blocks = {};
  for (std::int64_t row = 0; row < plan.rows(); ++row) {
    for (const std::int32_t start : plan.blocks[row])
      if (start >= 600) part.blocks.items.push_back(start);
    part.blocks.end_row();
  }
  AttentionResult hidden = pick(reference_attention(floats.view(), part), rows, group.geometry);
  hidden.lse = good.lse;
  CHECK_FALSE(sampled_error(group, plan, rows, hidden, DType::bf16).ok());

  // A kernel rounds every weight to bfloat16 before the product with V, and the sum after it.
  AttentionResult rounded = good;
  const AttentionInputs in = floats.view();
  for (std::size_t c = 0; c < 64; ++c) {
    float sum = 0;
    for (std::int64_t j = 0; j < 2000; ++j) {
      double s = 0;
      for (std::int64_t d = 0; d < 64; ++d)
        s += static_cast<double>(in.q_row(0, 1999)[d]) * static_cast<double>(in.k[j * 64 + d]);
      const double p = std::exp(s * group.geometry.softmax_scale);
      sum += round_bf16(static_cast<float>(p)) * in.v[j * 64 + static_cast<std::int64_t>(c)];
    }
    rounded.out[c] = round_bf16(static_cast<float>(static_cast<double>(sum) / std::exp(good.lse[0])));
  }
  CHECK(sampled_error(group, plan, rows, rounded, DType::bf16).out < 0.8);
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
