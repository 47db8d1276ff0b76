#include <doctest/doctest.h>

#include "support/close.hpp"
#include "support/gpu/check_attention.hpp"
#include "support/gpu/device_inputs.hpp"
#include "support/gpu/paths.hpp"

using namespace anchor;
using namespace anchor::test;

TEST_CASE("random blocks and columns match the reference for any tiling") {
  for (const DType dtype : kTypes)
    for (const int dim : kDims) {
      for (const std::int64_t length : {1, 127, 129, 700})
        check_random_plan(square(length, dim), 128, 128, 1, dtype, 11);
      check_random_plan(square(900, dim), 128, 128, 3, dtype, 12);
      check_random_plan(square(900, dim), 128, 64, 2, dtype, 13);
      check_random_plan(square(900, dim), 64, 32, 1, dtype, 14);
      check_random_plan(square(300, dim), 1, 16, 1, dtype, 15);
      check_random_plan(square(500, dim), 100, 48, 3, dtype, 16);
      check_random_plan(square(1500, dim), 256, 200, 2, dtype, 17);
    }
}

TEST_CASE("grouped queries read their own KV head") {
  const int heads[][2] = {{2, 2}, {4, 2}, {4, 1}, {8, 1}, {9, 3}, {16, 2}};
  for (const auto& [q_heads, kv_heads] : heads)
    for (const int dim : kDims)
      check_random_plan(square(400, dim, q_heads, kv_heads), 128, 128, 2, DType::bf16,
                        static_cast<unsigned>(q_heads));
}

TEST_CASE("queries that start late, and more keys than queries can see, match the reference") {
  for (const int dim : kDims) {
    check_random_plan(square(1000, dim, 2, 1, 700), 128, 128, 1, DType::bf16, 21);
    check_random_plan(square(1000, dim, 2, 1, 999), 128, 64, 1, DType::bf16, 22);
    Geometry early = square(1000, dim, 2, 1, 300);
    early.q_len = 200;
    check_random_plan(early, 128, 128, 2, DType::bf16, 23);
  }
}

TEST_CASE("column counts of every residue, and no columns at all, match the reference") {
  for (const int columns : {0, 1, 2, 15, 16, 17, 63, 64, 65, 126, 127, 128, 129, 255, 256, 257, 384}) {
    CAPTURE(columns);
    const RandomInputs inputs = rounded_inputs(square(1024, 128, 2, 1), DType::bf16, 31);
    SparsePlan plan{.geometry = inputs.geometry, .q_tile = 128, .kv_tile = 128, .tiles_per_row = 1};
    for (std::int64_t row = 0; row < plan.rows(); ++row) {
      const auto own = static_cast<std::int32_t>(row % plan.groups() * 128);
      plan.blocks.items.push_back(own);
      for (std::int32_t n = 0, j = static_cast<std::int32_t>(row % 3); n < columns && j < own;
           ++n, j += 1 + (n % 3))
        plan.columns.items.push_back(j);
      plan.blocks.end_row();
      plan.columns.end_row();
    }
    check_plan(inputs.view(), plan, DType::bf16);
  }
}

TEST_CASE("rows without keys give zeros and minus infinity") {
  for (const int dim : kDims) {
    const RandomInputs inputs = rounded_inputs(square(600, dim, 2, 1), DType::bf16, 41);
    SparsePlan plan{.geometry = inputs.geometry};
    for (std::int64_t row = 0; row < plan.rows(); ++row) {
      if (row % 3 == 1)
        plan.columns.items.push_back(static_cast<std::int32_t>(row % plan.groups() * 128 + 40));
      plan.blocks.end_row();
      plan.columns.end_row();
    }
    check_plan(inputs.view(), plan, DType::bf16);
  }
}

TEST_CASE("constant values come out unchanged, whatever the plan") {
  RandomInputs inputs = rounded_inputs(square(800, 128, 4, 2), DType::f16, 71);
  for (float& value : inputs.v) value = 1.5f;
  const SparsePlan plan = random_plan(inputs.geometry, 128, 128, 2, 72);
  for (const kernels::Path path : paths<kernels::SparseFwdParams>(DType::f16, 128))
    check_close(device_attention(inputs.view(), plan, DType::f16, path).out,
                std::vector<float>(inputs.q.size(), 1.5f), 2e-4);
}
