#include "anchor/base/text_file.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "anchor/base/error.hpp"
#include "support/temp_file.hpp"

using namespace anchor;
using test::TempFile;

TEST_CASE("lines come whole whatever their length, the last one with or without its newline") {
  const TempFile file("text_file_lines");
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{16382}, std::size_t{16383},
                                   std::size_t{16384}, std::size_t{16385}, std::size_t{100'000}}) {
    for (const bool ends : {true, false}) {
      CAPTURE(length);
      CAPTURE(ends);
      const std::string line(length, 'x');
      file.write("first\n" + line + "\n" + line + (ends ? "\n" : ""));
      LineReader lines(file.path);
      std::vector<LineReader::Line> found;
      while (auto next = lines.next()) found.push_back(*next);
      const bool last_there = ends || length > 0;
      REQUIRE(found.size() == (last_there ? 3 : 2));
      CHECK(found[0].text == "first");
      CHECK(found[1].text == line);
      CHECK(found[1].whole);
      if (!last_there) continue;
      CHECK(found[2].text == line);
      CHECK(found[2].number == 3);
      CHECK(found[2].whole == ends);
    }
  }
}

TEST_CASE("zero bytes are bytes") {
  const TempFile file("text_file_zero");
  const std::string text("a\0b\n", 4);
  file.write(text);
  CHECK(read_text_file(file.path) == text);
  CHECK(LineReader(file.path).next()->text == std::string("a\0b", 3));
}

TEST_CASE("a text has a limit, so that a device does not fill the memory") {
  CHECK_THROWS_WITH_AS(read_text_file("/dev/zero", 1 << 20), doctest::Contains("more than 1 MiB"), Error);
  CHECK_THROWS_WITH_AS(read_text_file("/nonexistent"), doctest::Contains("cannot read"), Error);
  CHECK_THROWS_WITH_AS(read_text_file("/tmp"), doctest::Contains("folder"), Error);
  CHECK_THROWS_WITH_AS(LineReader("/tmp"), doctest::Contains("folder"), Error);
}
