#include <doctest/doctest.h>

#include "support/gpu/check_attention.hpp"

using namespace anchor;
using namespace anchor::test;

TEST_CASE("a layer's sliding window is exact to the token, alone and beside a plan's, whatever is listed") {
  for (const DType dtype : kTypes)
    for (const int dim : kDims)
      for (const std::int64_t window : {1, 5, 100, 128, 129, 300, 899}) {
        CAPTURE(dim);
        CAPTURE(window);
        for (const std::int64_t q_start : {0, 130}) {
          RandomInputs inputs = rounded_inputs(square(900, dim, 2, 1, q_start), dtype, 53);
          inputs.geometry.sliding_window = window;
          check_plan(inputs.view(), dense_plan(inputs.geometry), dtype);
          Geometry open = inputs.geometry;
          open.sliding_window = 0;
          SparsePlan plan = dense_plan(open);  // lists much that the window hides
          plan.geometry = inputs.geometry;
          plan.window = SparsePlan::Window{100, {77, 1000}, 600};
          check_plan(inputs.view(), plan, dtype);
          check_plan(inputs.view(), random_plan(inputs.geometry, 128, 64, 3, unsigned(window)), dtype);
          check_plan(inputs.view(), random_plan(inputs.geometry, 64, 64, 1, unsigned(window)), dtype);
        }
      }
}

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
