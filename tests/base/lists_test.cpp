#include "anchor/base/lists.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/number.hpp"

using namespace anchor;
using Values = std::vector<double>;

TEST_CASE("numbers as the command line writes them") {
  CHECK(parse_number("12") == 12);
  CHECK(parse_number("8k") == 8192);
  CHECK(parse_number("0.5k") == 512);
  CHECK(parse_number("4G") == 4294967296.0);
  CHECK(parse_number("-inf") == -HUGE_VAL);
  CHECK(parse_number("inf") == HUGE_VAL);
  CHECK(parse_number("1e-3") == 1e-3);
  for (const char* bad : {"", "k", "8kk", "nan", "1 2", "0x10", "12,", "--3"}) CHECK_FALSE(parse_number(bad));
  for (const double value : {0.1, -3.0, 8192.0, 1e-17, HUGE_VAL, -HUGE_VAL, 1.0 / 3}) {
    CHECK(parse_number(format_number(value)) == value);
  }
}

TEST_CASE("lists and inclusive ranges") {
  CHECK(parse_list("8k,32k", "--seq") == Values{8192, 32768});
  CHECK(parse_list("8k-128k*2", "--seq") == Values{8192, 16384, 32768, 65536, 131072});
  CHECK(parse_list("4:6:0.5", "--grid") == Values{4, 4.5, 5, 5.5, 6});
  CHECK(parse_list("-2:1", "--grid") == Values{-2, -1, 0, 1});
  CHECK(parse_list("0-3, 7", "--layers") == Values{0, 1, 2, 3, 7});
  CHECK(parse_list("-3,1e-2,-inf", "--grid") == Values{-3, 0.01, -HUGE_VAL});
  CHECK(parse_list("4:16:0.1", "--grid").size() == 121);
  CHECK(parse_list("4:16:0.1", "--grid").back() == doctest::Approx(16));
  CHECK(parse_list("1:2:5", "--grid") == Values{1});
}

TEST_CASE("what makes no sense is a usage error that names the flag") {
  for (const char* bad : {"", ",", "1,", "a", "5-3", "5:3", "0:1:0", "0:1:-1", "0-inf", "0:inf:1",
                          "8k-128k*1", "0-8*2", "0:1e9:1e-3", "1:2:3:4", "4:16:inf", "5e-324-1e-300*1.2"}) {
    CAPTURE(bad);
    try {
      parse_list(bad, "--grid");
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
      CHECK(std::string(error.what()).starts_with("--grid: "));
    }
  }
  CHECK_THROWS_AS(parse_integers("1.5", "--heads", 0, 10), Error);
  CHECK_THROWS_AS(parse_integers("11", "--heads", 0, 10), Error);
  CHECK(parse_integers("3,0-1", "--heads", 0, 10) == std::vector<std::int64_t>{3, 0, 1});
}
