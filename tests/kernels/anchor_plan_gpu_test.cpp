#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/close.hpp"
#include "support/gpu/anchor_problem.hpp"
#include "support/gpu/device_inputs.hpp"
#include "support/gpu/paths.hpp"
#include "support/random.hpp"

using namespace anchor;
using namespace anchor::test;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

void check_planner(const Geometry& geometry, DType dtype, const AnchorSetting& setting, unsigned seed) {
  CAPTURE(geometry.q_len);
  CAPTURE(geometry.q_start);
  CAPTURE(geometry.q_heads);
  CAPTURE(geometry.head_dim);
  CAPTURE(setting.block);
  CAPTURE(setting.step);
  CAPTURE(setting.v4);
  RandomInputs inputs = random_inputs(geometry, seed);
  round_to(dtype, inputs.q);
  round_to(dtype, inputs.k);
  const std::vector<double> critical = reference_critical(inputs.view(), setting);
  for (const kernels::Path path : paths<kernels::AnchorParams>(dtype, geometry.head_dim)) {
    CAPTURE(static_cast<int>(path));
    std::vector<float> measured;
    if (setting.step <= 16) {
      measured = device_plan(inputs.view(), dtype, setting,
                             std::vector<double>(static_cast<std::size_t>(geometry.q_heads), 0.),
                             AnchorRun::critical, path)
                     .critical;
      check_close(measured, critical, critical_tolerance);
    }

    // Thresholds in the middle of each head's values, and both infinities.
    for (int round = 0; round < 3; ++round) {
      std::vector<double> theta;
      for (int head = 0; head < geometry.q_heads; ++head)
        theta.push_back(round == 0 ? 3.5 + 0.4 * head : round == 1 ? infinity : -infinity);
      const SparsePlan expected = cpu_plan(inputs.view(), setting, theta);
      const SparsePlan actual =
          device_plan(inputs.view(), dtype, setting, theta, AnchorRun::lists, path).plan;
      CHECK(actual.blocks == expected.blocks);
      CHECK(validate(actual) == "");
      std::int64_t borderline = 0, candidates = 0, wrong = 0, not_critical = 0;
      for (std::int64_t row = 0; row < actual.rows(); ++row) {
        const auto keys = selected(actual, row), wanted = selected(expected, row);
        for (std::int64_t j = 0; j < geometry.kv_len; ++j) {
          const double t = critical[static_cast<std::size_t>(row * geometry.kv_len + j)];
          const double limit = theta[static_cast<std::size_t>(row / actual.groups())];
          const bool has = std::binary_search(keys.begin(), keys.end(), j);
          candidates += !std::isnan(t);
          if (std::abs(t - limit) <= critical_tolerance)
            ++borderline;
          else
            wrong += has != (t <= limit) || has != std::binary_search(wanted.begin(), wanted.end(), j);
          if (!measured.empty())
            not_critical += has != (measured[static_cast<std::size_t>(row * geometry.kv_len + j)] <=
                                    static_cast<float>(limit));
        }
      }
      CHECK(wrong == 0);
      CHECK(not_critical == 0);
      CHECK(borderline <= 2 + candidates / 1000);
    }
  }
}

}  // namespace

TEST_CASE("the device plans what the definition and the CPU planner select") {
  for (const DType dtype : {DType::bf16, DType::f16})
    for (const int dim : {64, 128, 256}) {
      for (const int step : {1, 2, 3, 4, 8, 16}) {
        const std::int64_t group = 32 * step;
        for (const std::int64_t length : {std::int64_t{1}, group - 1, group, group + 1, 3 * group + 45})
          check_planner(square(length, dim), dtype, {32, step}, static_cast<unsigned>(step));
      }
      check_planner(square(1500, dim, 4, 2), dtype, {128, 1}, 5);
      check_planner(square(1500, dim, 3, 1), dtype, {128, 4}, 6);
      check_planner(square(900, dim, 9, 3), dtype, {128, 1}, 7);
      check_planner(square(700, dim, 8, 1), dtype, {64, 2}, 8);
    }
}

TEST_CASE("other blocks, long groups, chunks and dense tails are planned alike") {
  check_planner(square(1100, 128, 2, 1), DType::bf16, {100, 2}, 11);
  check_planner(square(700, 64, 2, 1), DType::bf16, {17, 3}, 12);
  check_planner(square(1500, 128, 2, 1), DType::bf16, {256, 2}, 13);
  check_planner(square(1500, 64, 2, 1), DType::bf16, {16, 20}, 14);
  check_planner(square(1300, 64, 2, 1), DType::bf16, {8, 64}, 15);
  check_planner(square(1000, 128, 2, 1, 512), DType::bf16, {128, 2}, 16);
  check_planner(square(1000, 128, 2, 1, 896), DType::bf16, {128, 1}, 17);
  check_planner(square(1100, 128, 2, 1), DType::bf16, {128, 2, false, true}, 18);
}

TEST_CASE("v4 windows split the selection into columns and duplicates as the CPU planner does") {
  for (const bool dense_tail : {true, false})
    for (const std::int64_t length : {255, 256, 512, 768, 1100}) {
      check_planner(square(length, 128, 2, 1), DType::bf16, {64, 4, true, dense_tail}, 21);
      RandomInputs inputs = random_inputs(square(length, 128, 2, 1), 22);
      round_to(DType::bf16, inputs.q);
      round_to(DType::bf16, inputs.k);
      const AnchorSetting setting{64, 4, true, dense_tail};
      const SparsePlan all = cpu_plan(inputs.view(), setting, {infinity, infinity});
      const SparsePlan actual =
          device_plan(inputs.view(), DType::bf16, setting, {infinity, infinity}, AnchorRun::lists).plan;
      CHECK(actual.columns == all.columns);
      CHECK(actual.dup == all.dup);
    }
}

TEST_CASE("lists that do not fit are cut off, and their size is reported") {
  RandomInputs inputs = random_inputs(square(1000, 64, 2, 1), 31);
  round_to(DType::bf16, inputs.q);
  round_to(DType::bf16, inputs.k);
  const AnchorSetting setting{64, 2};
  const AnchorResult whole = device_plan(inputs.view(), DType::bf16, setting, {5, 5}, AnchorRun::lists);
  const AnchorResult cut = device_plan(inputs.view(), DType::bf16, setting, {5, 5}, AnchorRun::lists,
                                       kernels::Path::automatic, whole.columns / 2);
  CHECK(cut.columns == whole.columns);
  CHECK(cut.plan.columns.offsets == whole.plan.columns.offsets);
  CHECK(std::equal(cut.plan.columns.items.begin(), cut.plan.columns.items.end(),
                   whole.plan.columns.items.begin()));
}
