#include "anchor/base/matrix_ops.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

#include "anchor/base/aligned.hpp"

using namespace anchor;

namespace {
constexpr float infinity = std::numeric_limits<float>::infinity();
}

TEST_CASE("products equal their definition for sizes around vector widths, with row strides") {
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  for (const std::int64_t m : {1, 3, 17}) {
    for (const std::int64_t n : {1, 16, 33}) {
      for (const std::int64_t k : {1, 8, 65}) {
        const std::int64_t ld = 80;
        AlignedVector<float> a(std::size_t(m * ld)), b(std::size_t(std::max(n, k) * ld)),
            c(std::size_t(m * ld), 7.f);
        for (float& x : a) x = normal(rng);
        for (float& x : b) x = normal(rng);
        matrix_ops().gemm_nt(m, n, k, 0.5f, a.data(), ld, b.data(), ld, c.data(), ld);
        AlignedVector<float> sum = c;
        matrix_ops().gemm_nn_add(m, n, k, a.data(), ld, b.data(), ld, sum.data(), ld);
        for (std::int64_t i = 0; i < m; ++i) {
          for (std::int64_t j = 0; j < ld; ++j) {
            double nt = 0, nn = 0;
            for (std::int64_t l = 0; l < k; ++l) {
              nt += j < n ? double{a[std::size_t(i * ld + l)]} * double{b[std::size_t(j * ld + l)]} : 0;
              nn += double{a[std::size_t(i * ld + l)]} * double{b[std::size_t(l * ld + j)]};
            }
            const auto at = std::size_t(i * ld + j);
            REQUIRE(double{c[at]} ==
                    doctest::Approx(j < n ? nt / 2 : 7).epsilon(1e-4).scale(1));  // 7: untouched
            REQUIRE(double{sum[at]} == doctest::Approx(j < n ? nt / 2 + nn : 7).epsilon(1e-4).scale(1));
          }
        }
      }
    }
  }
}

TEST_CASE("exp is within 2 ulp from -87 to 0, and 0 below") {
  AlignedVector<float> x, expected;
  for (float v = -87.25f; v <= 0.01f; v += 0.00137f) x.push_back(v), expected.push_back(std::exp(v));
  const float shift = 0;
  matrix_ops().exp_rows(1, std::ssize(x), x.data(), std::ssize(x), &shift);
  for (std::size_t i = 0; i < x.size(); ++i) {
    REQUIRE(std::abs(x[i] - expected[i]) <= 2.4e-7f * expected[i]);
  }
  AlignedVector<float> far{-88, -100, -1e30f, -infinity};
  matrix_ops().exp_rows(1, 4, far.data(), 4, &shift);
  CHECK(far == AlignedVector<float>{0, 0, 0, 0});
  AlignedVector<float> empty{1, 2};
  const float nothing = -infinity;
  matrix_ops().exp_rows(1, 2, empty.data(), 2, &nothing);
  CHECK(empty == AlignedVector<float>{0, 0});
}

TEST_CASE("the running softmax does not depend on how keys are cut, and masked rows stay empty") {
  std::mt19937 rng(2);
  std::normal_distribution<float> normal(0, 5);
  const std::int64_t cols = 101;
  AlignedVector<float> scores(std::size_t(2 * cols));
  for (float& s : scores) s = normal(rng);
  for (std::int64_t c = 0; c < cols; ++c) scores[std::size_t(cols + c)] = -infinity;
  double expected = 0;
  for (std::int64_t c = 0; c < cols; ++c) expected += std::exp(double{scores[std::size_t(c)]});
  for (const std::int64_t step : {1, 7, 64, 101}) {
    float max[2] = {-infinity, -infinity}, shrink[2];
    double sum[2] = {0, 0};
    for (std::int64_t at = 0; at < cols; at += step) {
      AlignedVector<float> part = scores;
      matrix_ops().softmax_step(2, std::min(step, cols - at), part.data() + at, cols, max, sum, shrink);
      CHECK(part[std::size_t(cols + at)] == 0);
      CHECK(shrink[1] == 1);
    }
    CHECK(double{max[0]} + std::log(sum[0]) == doctest::Approx(std::log(expected)).epsilon(1e-7));
    CHECK(max[1] == -infinity);
    CHECK(sum[1] == 0);
  }
}
