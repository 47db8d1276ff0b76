#include "anchor/replay/row_selection.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"

using namespace anchor;

TEST_CASE("rows: the last, the last N, or N to M with both ends") {
  CHECK(RowSelection("last").in(100) == RowRange{99, 100});
  CHECK(RowSelection("last:16").in(100) == RowRange{84, 100});
  CHECK(RowSelection("last:100").in(100) == RowRange{0, 100});
  CHECK(RowSelection("0-0").in(100) == RowRange{0, 1});
  CHECK(RowSelection("1k-2k").in(4096) == RowRange{1024, 2049});
}

TEST_CASE("rows that are none, or that a layer has not, are usage errors that say so") {
  const auto error_of = [](const std::string& text, std::int64_t q_len) -> std::string {
    try {
      (void)RowSelection(text).in(q_len);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
      return error.what();
    }
    return "";
  };
  CHECK(error_of("first", 100) == "--rows first: write last, last:N or N-M");
  CHECK(error_of("7", 100) == "--rows 7: write last, last:N or N-M");
  CHECK(error_of("9-4", 100) == "--rows 9-4: the first row lies after the last");
  CHECK(error_of("90-100", 100) == "--rows 90-100: a layer has 100 query rows, 0 to 99");
  CHECK(error_of("last:101", 100) == "--rows last:101: a layer has 100 query rows, 0 to 99");
  for (const char* text : {"", "last:", "last:0", "last:x", "-5", "1-", "1-2-3", "1,2-3"})
    CHECK(error_of(text, 100) != "");
}
