#include "anchor/rows/read_rows.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"
#include "support/sample_row.hpp"
#include "support/temp_file.hpp"

using namespace anchor;
using test::sample_row;
using test::TempFile;

TEST_CASE("rows come in the order of the file; empty lines and a torn last one are left out") {
  const TempFile file("read_rows.jsonl");
  const std::string first = to_json(sample_row(4)).dump(), second = to_json(sample_row(1)).dump();
  for (const std::string& end :
       {std::string("\n"), std::string(), "\n" + first.substr(0, first.size() / 2)}) {
    CAPTURE(end);
    file.write(first + "\n\n" + second + end);
    const std::vector<ResultRow> rows = read_rows(file.path);
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].head == 4);
    CHECK(rows[1].head == 1);
    CHECK(rows[1].unit == sample_row(1).unit);
  }
}

TEST_CASE("what is wrong is named by file and line") {
  const TempFile file("read_rows_wrong.jsonl");
  const std::string good = to_json(sample_row(0)).dump() + "\n";
  const auto refused = [&](const std::string& text, const std::string& why) {
    file.write(text);
    CHECK_THROWS_WITH_AS(read_rows(file.path), doctest::Contains((file.path + why).c_str()), Error);
  };
  refused("", ": no result rows");
  refused("\n\n", ": no result rows");
  refused(good + "{\"schema\":\"other\"}\n", ":2: not a result row");
  refused(good + "{\"torn\n" + good, ":2: not a result row");  // torn, but not the last line
  Json broken = to_json(sample_row(0));
  broken["density"] = "much";
  refused(good + "\n" + broken.dump() + "\n", ":3: field \"density\"");
  CHECK_THROWS_WITH_AS(read_rows("/nonexistent/rows.jsonl"), doctest::Contains("cannot read"), Error);
}
