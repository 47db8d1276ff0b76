#include <doctest/doctest.h>

#include "support/gpu/check_attention.hpp"

using namespace anchor;
using namespace anchor::test;

TEST_CASE("dense plans of every length match the reference") {
  for (const DType dtype : kTypes)
    for (const int dim : kDims)
      for (const std::int64_t length : {1, 2, 63, 64, 65, 127, 128, 129, 255, 257, 640, 1000}) {
        CAPTURE(length);
        CAPTURE(dim);
        const RandomInputs inputs = rounded_inputs(square(length, dim, 2, 1), dtype, 3);
        check_plan(inputs.view(), dense_plan(inputs.geometry), dtype);
      }
}
