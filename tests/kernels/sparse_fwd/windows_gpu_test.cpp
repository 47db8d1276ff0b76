#include <doctest/doctest.h>

#include "support/gpu/check_attention.hpp"

using namespace anchor;
using namespace anchor::test;

TEST_CASE("windows are exact to the token") {
  for (const int dim : kDims) {
    const RandomInputs inputs = rounded_inputs(square(900, dim, 2, 1), DType::bf16, 51);
    const std::vector<SparsePlan::Window> windows{
        {4, {128, 300}, 900}, {0, {1, 2}, 900}, {100, {77, 1000}, 600}, {0, {300, 300}, 0}};
    for (const SparsePlan::Window& window : windows) {
      SparsePlan plan = dense_plan(inputs.geometry);
      plan.window = window;
      check_plan(inputs.view(), plan, DType::bf16);
    }
  }
}
