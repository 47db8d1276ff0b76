#include <doctest/doctest.h>

#include <algorithm>

#include "support/gpu/check_attention.hpp"

using namespace anchor;
using namespace anchor::test;

TEST_CASE("duplicates weigh twice in the output and once in lse") {
  for (const int dim : kDims) {
    const RandomInputs inputs = rounded_inputs(square(700, dim, 2, 1), DType::bf16, 61);
    SparsePlan plan = random_plan(inputs.geometry, 128, 64, 2, 62);
    for (std::int64_t row = 0; row < plan.rows(); ++row) {
      std::vector<std::int32_t> keys(plan.columns[row].begin(), plan.columns[row].end());
      for (const std::int32_t start : plan.blocks[row])
        for (std::int32_t j = start; j < start + plan.block_width(start); ++j) keys.push_back(j);
      std::sort(keys.begin(), keys.end());
      for (std::size_t n = static_cast<std::size_t>(row % 2); n < keys.size() && row % 4 != 3; n += 2)
        plan.dup.items.push_back(keys[n]);
      plan.dup.end_row();
    }
    check_plan(inputs.view(), plan, DType::bf16);
  }
}
