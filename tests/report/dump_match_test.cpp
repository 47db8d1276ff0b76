#include "anchor/report/dump_match.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"
#include "anchor/replay/head_selection.hpp"
#include "support/small_dump.hpp"

using namespace anchor;

namespace {

const DumpReader& reader() {
  static const test::SmallDump small(77);
  return small.reader();
}

std::vector<std::string> warnings(const std::vector<ResultRow>& rows) {
  return dump_mismatches(rows, reader());
}

}  // namespace

TEST_CASE("rows of the dump itself are joined without a word, and so are those that say no shape") {
  CHECK(warnings({head_row(reader(), 0, 1), layer_row(reader(), 1)}).empty());
  CHECK(warnings({}).empty());
  CHECK(warnings({ResultRow{.kind = "recall"}}).empty());
  ResultRow timed = layer_row(reader(), 0);
  timed.kind = "bench";
  timed.geometry->kv_len = 8192;
  CHECK(warnings({timed}).empty());
}

TEST_CASE("rows of another shape are refused where none fits, and named where some do") {
  const ResultRow own = head_row(reader(), 0, 1);
  for (const auto change : {+[](Geometry& g) { g.kv_len = g.q_len = 96; },
                            +[](Geometry& g) { g.head_dim = 128; }, +[](Geometry& g) { g.q_heads = 8; }}) {
    ResultRow other = own;
    other.dump_path = "other.h5";
    change(*other.geometry);
    CHECK_THROWS_WITH_AS(warnings({other}), doctest::Contains("other.h5 and "), Error);
    const auto found = warnings({own, other});
    REQUIRE(found.size() == 1);
    CHECK(found[0].find("other.h5") != std::string::npos);
    CHECK(found[0].find("200 tokens, 4/2 heads of dimension 16") != std::string::npos);
  }
  ResultRow elsewhere = own;
  elsewhere.layer = 7;
  CHECK_THROWS_AS(warnings({elsewhere}), Error);
}

TEST_CASE("rows of another model or text are named") {
  ResultRow row = head_row(reader(), 0, 1);
  row.model = "another";
  auto found = warnings({row});
  REQUIRE(found.size() == 1);
  CHECK(found[0].find("of the model another") != std::string::npos);
  CHECK(found[0].find("random heads") != std::string::npos);
  row.model = reader().header().model;
  row.dump_path = "/texts/code.h5";
  found = warnings({row});
  REQUIRE(found.size() == 1);
  CHECK(found[0].find("made from /texts/code.h5") != std::string::npos);
  row.dump_path = "/moved/" + reader().path().substr(reader().path().rfind('/') + 1);
  CHECK(warnings({row}).empty());
}
