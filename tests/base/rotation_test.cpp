#include "anchor/base/rotation.hpp"

#include <doctest/doctest.h>

#include <numeric>

#include "anchor/base/error.hpp"
#include "support/close.hpp"
#include "support/rotated.hpp"

using namespace anchor;
using test::random_inputs;
using test::rotation_of;
using test::square;

namespace {

double dot(const float* a, const float* b, int dim) { return std::inner_product(a, a + dim, b, 0.0); }

}  // namespace

TEST_CASE("un-rotation takes rotation back: whole and partial heads, with and without an attention factor") {
  for (const int rotated : {32, 12}) {
    for (const double factor : {1., 1.3}) {
      const Rotation rotation = rotation_of(rotated, 1e4, factor);
      const std::vector<float> before = random_inputs(square(40, 32), 5).k;
      std::vector<float> rows = before;
      rotate_rows(&rotation, rows.data(), 40, 32, 1000);
      test::check_close(std::vector<float>(rows.begin() + rotated, rows.begin() + 32),
                        std::vector<float>(before.begin() + rotated, before.begin() + 32), 0);
      CHECK(std::abs(rows[0] - before[0]) > 1e-3);
      unrotate_rows(&rotation, rows.data(), 40, 32, 1000);
      test::check_close(rows, before, 2e-6);
    }
  }
}

TEST_CASE("a score depends on the distance alone, and turning to one position is rotation there") {
  const Rotation rotation = rotation_of(32);
  const std::vector<float> pair = random_inputs(square(2, 32), 7).k;
  const float *q = pair.data(), *k = q + 32;
  for (const auto& [i, j] : {std::pair{200, 37}, {64, 63}, {2000, 0}}) {
    std::vector<float> qi(q, q + 32), kj(k, k + 32), away(q, q + 32);
    rotate_rows(&rotation, qi.data(), 1, 32, i);
    rotate_rows(&rotation, kj.data(), 1, 32, j);
    rotate_rows_to(&rotation, away.data(), 1, 32, i - j);
    CHECK(dot(qi.data(), kj.data(), 32) == doctest::Approx(dot(away.data(), k, 32)).epsilon(1e-4));
  }
}

TEST_CASE("no rotation leaves rows alone, and an unknown one says why") {
  std::vector<float> rows{1, 2, 3, 4};
  unrotate_rows(nullptr, rows.data(), 1, 4, 9);
  CHECK(rows == std::vector<float>{1, 2, 3, 4});
  const Rotation unknown{.unknown = "rope_inv_freq is missing"};
  CHECK_THROWS_WITH_AS(unrotate_rows(&unknown, rows.data(), 1, 4, 0), "rope_inv_freq is missing", Error);
  const Rotation wide = rotation_of(8);
  CHECK_THROWS_AS(rotate_rows(&wide, rows.data(), 1, 4, 0), Error);
}
