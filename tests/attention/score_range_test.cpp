#include "anchor/attention/score_range.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/attention/reference.hpp"
#include "anchor/base/error.hpp"
#include "anchor/mass/curve.hpp"
#include "anchor/method/method.hpp"
#include "anchor/metrics/recall.hpp"
#include "support/kv_group.hpp"

using namespace anchor;

namespace {

/// Inputs with a huge channel, as massive activations have it: all scores lie about `size`, and differ by a
/// few.
test::RandomInputs massive(float size, std::int64_t length = 300) {
  test::RandomInputs inputs = test::random_inputs(test::square(length, 64, 2, 1));
  for (std::size_t i = 0; i < inputs.q.size(); i += 64) inputs.q[i] = 8 * std::sqrt(size) / 8;
  for (std::size_t i = 0; i < inputs.k.size(); i += 64) inputs.k[i] = 8 * std::sqrt(size);
  return inputs;
}

/// Largest difference of the mass recalls of a plan, and the largest recall.
struct RecallError {
  double off = 0, largest = 0;
};

RecallError recall_error(const AttentionInputs& inputs, const SparsePlan& plan) {
  const SparsePlan dense = dense_plan(inputs.geometry);
  const auto got = row_mass_recall(cpu_attention(inputs, plan).lse, cpu_attention(inputs, dense).lse);
  const auto expected =
      row_mass_recall(reference_attention(inputs, plan).lse, reference_attention(inputs, dense).lse);
  RecallError error;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error.off = std::max(error.off, std::abs(got[i] - expected[i]));
    error.largest = std::max(error.largest, got[i]);
  }
  return error;
}

}  // namespace

TEST_CASE("massive activations: every row's recall is float64's to 1e-4, and at most 1") {
  for (const float size : {1.f, 1e3f, 1e5f, 1e7f}) {
    const test::RandomInputs inputs = massive(size);
    for (const auto& [tile, columns] : {std::pair{64, 16}, {128, 32}, {1, 8}}) {
      CAPTURE(size);
      CAPTURE(tile);
      const SparsePlan plan = test::random_plan(inputs.geometry, tile, columns, 1, 5);
      const RecallError error = recall_error(inputs.view(), plan);
      CHECK(error.off < 1e-4);
      CHECK(error.largest <= 1);
    }
  }
}

TEST_CASE("scores that jump by their whole size move the base of a row, and lose nothing") {
  test::RandomInputs inputs = massive(1e5f);
  for (std::size_t j = 0; j < 300;
       ++j)  // the first keys far below, the middle far above, the last below again
    inputs.k[j * 64] *= j < 100 ? -1.f : j < 200 ? 1.f : 0.5f;
  const RecallError error = recall_error(inputs.view(), test::random_plan(inputs.geometry, 64, 16, 1, 3));
  CHECK(error.off < 1e-4);
  CHECK(error.largest <= 1);
}

TEST_CASE("exact mass of massive activations: every row's sums to 1") {
  const test::RandomInputs inputs = massive(1e5f);
  const AttentionInputs head = inputs.view().head(1);
  const MassGranularity grain{.group_rows = 1, .tile_rows = 0, .block_keys = 0};
  const MassMap got = cpu_mass_map(head, grain), expected = reference_mass_map(head, grain);
  double worst = 0, worst_sum = 0;
  for (std::int64_t row = 0; row < 300; ++row) {
    double sum = 0;
    for (std::int64_t j = 0; j < 300; ++j) {
      sum += static_cast<double>(got.column_row(row)[j]);
      worst = std::max(worst, std::abs(static_cast<double>(got.column_row(row)[j]) -
                                       static_cast<double>(expected.column_row(row)[j])));
    }
    worst_sum = std::max(worst_sum, std::abs(sum - 1));
    CHECK(got.lse[static_cast<std::size_t>(row)] ==
          doctest::Approx(expected.lse[static_cast<std::size_t>(row)]).epsilon(1e-9));
  }
  CHECK(worst < 1e-5);
  CHECK(worst_sum < 1e-5);
}

TEST_CASE("how rows are cut does not decide how their scores are computed") {
  const test::RandomInputs inputs = massive(1.2e3f);
  const ScoreRange whole(inputs.view());
  for (const auto& [begin, end] : {std::pair<std::int64_t, std::int64_t>{0, 100}, {100, 101}, {101, 300}}) {
    const AttentionInputs part = inputs.view().rows(begin, end);
    const ScoreRange range(part);
    for (int head = 0; head < 2; ++head)
      for (std::int64_t i = begin; i < end; ++i) CHECK(range.bound(head, i - begin) == whole.bound(head, i));
  }
}

TEST_CASE("scores that overflow float are a data error that names the query; large ones are not") {
  const Geometry g = test::square(40, 16, 2, 1);
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    KvGroup group = test::random_group(g, dtype);
    CHECK_NOTHROW(check_scores(group));
    if (dtype == DType::f16) continue;
    AlignedVector<float> q = group.q.to_float(), k = group.k.to_float();
    for (float& x : k) x *= 1e18f;
    group.k = Tensor::from_float(dtype, {1, 40, 16}, {k.begin(), k.end()});
    CHECK_NOTHROW(check_scores(group));  // scores of 1e19
    for (std::size_t c = 0; c < 16; ++c) q[(40 + 7) * 16 + c] *= 1e20f;
    group.q = Tensor::from_float(dtype, {2, 40, 16}, {q.begin(), q.end()});
    CHECK_THROWS_WITH_AS(check_scores(group), doctest::Contains("head 1, query 7: scores overflow float"),
                         Error);
  }
}
