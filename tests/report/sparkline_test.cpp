#include "anchor/report/sparkline.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace anchor;

TEST_CASE("a bar per value, from the lowest to the highest") {
  const std::vector<double> values{0, 0.5, 1, std::nan(""), 2, -1};
  CHECK(sparkline(values, 0, 1, 80) == "▁▅█ █▁");
  CHECK(sparkline(values, 0, 1, 80, false) == "059 90");
  CHECK(sparkline({}, 0, 1, 80).empty());
}

TEST_CASE("a constant series is full, not empty") {
  CHECK(sparkline(std::vector<double>{3, 3}, 3, 3, 80, false) == "99");
}

TEST_CASE("a series longer than the line shows means of equal shares") {
  std::vector<double> values;
  for (int n = 0; n < 1000; ++n) values.push_back(n);
  const std::string bars = sparkline(values, 0, 999, 10, false);
  CHECK(bars == "0123456789");
  CHECK(sparkline(values, 0, 999, 0, false).size() == 1);
  values.assign(7, 1);
  values[6] = 0;
  CHECK(sparkline(values, 0, 1, 3, false) == "996");
}
