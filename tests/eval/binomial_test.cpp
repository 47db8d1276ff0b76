#include "anchor/eval/binomial.hpp"

#include <doctest/doctest.h>

using namespace anchor;
using doctest::Approx;

TEST_CASE("Clopper and Pearson's interval, as scipy's beta quantiles give it") {
  CHECK(clopper_pearson(0, 10) == std::pair(0., clopper_pearson(0, 10).second));
  CHECK(clopper_pearson(0, 10).second == Approx(0.30849711).epsilon(1e-6));
  CHECK(clopper_pearson(5, 10).first == Approx(0.18708603).epsilon(1e-6));
  CHECK(clopper_pearson(5, 10).second == Approx(0.81291397).epsilon(1e-6));
  CHECK(clopper_pearson(10, 10).first == Approx(0.69150289).epsilon(1e-6));
  CHECK(clopper_pearson(10, 10).second == 1);
  CHECK(clopper_pearson(2, 500).second == Approx(0.01437378).epsilon(1e-4));
  CHECK(clopper_pearson(0, 0) == std::pair(0., 1.));
}

TEST_CASE("McNemar's exact test") {
  CHECK(mcnemar(0, 0) == 1);
  CHECK(mcnemar(5, 5) == 1);
  CHECK(mcnemar(1, 9) == Approx(22. / 1024));
  CHECK(mcnemar(9, 1) == mcnemar(1, 9));
}
