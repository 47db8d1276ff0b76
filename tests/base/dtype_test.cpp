#include "anchor/base/dtype.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace anchor;

TEST_CASE("every 16-bit pattern survives the trip through float") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto b = static_cast<std::uint16_t>(bits);
    if (std::isnan(bf16_to_float(b))) {
      CHECK(std::isnan(bf16_to_float(float_to_bf16(bf16_to_float(b)))));
    } else {
      CHECK(float_to_bf16(bf16_to_float(b)) == b);
    }
    if (!std::isnan(f16_to_float(b))) CHECK(float_to_f16(f16_to_float(b)) == b);
  }
}

TEST_CASE("bf16 rounds to nearest, ties to even") {
  CHECK(bf16_to_float(float_to_bf16(1.0f + 1.0f / 256)) == 1.0f);               // tie, even below
  CHECK(bf16_to_float(float_to_bf16(1.0f + 3.0f / 256)) == 1.0f + 4.0f / 256);  // tie, even above
  CHECK(bf16_to_float(float_to_bf16(1.0f + 1.1f / 256)) == 1.0f + 2.0f / 256);
  CHECK(std::isinf(bf16_to_float(float_to_bf16(3.4e38f))));
  CHECK(bf16_to_float(float_to_bf16(-0.0f)) == 0.0f);
}
