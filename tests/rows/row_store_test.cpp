#include "anchor/rows/row_store.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"
#include "support/sample_row.hpp"
#include "support/temp_file.hpp"

using namespace anchor;
using test::sample_row;
using test::TempFile;

TEST_CASE("resume keeps whole rows, cuts a torn last line, retries errors, and appends") {
  const TempFile file("anchor_row_store_test.jsonl");
  ResultRow failed = sample_row(1);
  failed.status = "error";
  {
    RowStore store(file.path, false);
    store.append(to_json(sample_row(0)));
    store.append(to_json(failed));
  }
  const std::string whole = file.read();
  file.write(whole + R"({"schema":"anchor-result/1","uni)");
  {
    RowStore store(file.path, true);
    REQUIRE(store.find(sample_row(0).unit) != nullptr);
    CHECK(store.find(sample_row(0).unit)->head == 0);
    CHECK(store.find(failed.unit) == nullptr);
    CHECK(store.find("0") == nullptr);
    store.append(to_json(sample_row(2)));
  }
  CHECK(file.read().starts_with(whole));
  const RowStore again(file.path, true);
  CHECK(again.find(sample_row(2).unit) != nullptr);
}

TEST_CASE("resume refuses a file of something else and leaves it as it is") {
  const TempFile file("anchor_row_store_foreign.jsonl");
  file.write("name,value\na,1\n");
  CHECK_THROWS_WITH_AS(RowStore(file.path, true), doctest::Contains("line 1"), Error);
  CHECK(file.read() == "name,value\na,1\n");
}

TEST_CASE("a last line without newline is dropped after a row, or where it begins like one") {
  const TempFile file("row_store_torn.jsonl");
  for (const std::string text : {"{\"schema\":\"anchor-result/1\",\"un", "{\"sche", "{", ""}) {
    file.write(text);
    CHECK_NOTHROW(RowStore(file.path, true));
    CHECK(file.read().empty());
  }
  for (const std::string text : {"precious", "{\"a\":1}", "{\"schema\":\"anchor-result/2\"", "\xff", " "}) {
    file.write(text);
    CHECK_THROWS_WITH_AS(RowStore(file.path, true), doctest::Contains("line 1"), Error);
    CHECK(file.read() == text);
  }
  file.write(to_json(sample_row(0)).dump() + "\nnotes of mine");
  CHECK_NOTHROW(RowStore(file.path, true));
  CHECK(file.read() == to_json(sample_row(0)).dump() + "\n");
}

TEST_CASE("a run that ends before its first row leaves the file as it was") {
  const TempFile file("row_store_early.jsonl");
  file.write("rows of yesterday\n");
  { const RowStore store(file.path, false); }
  CHECK(file.read() == "rows of yesterday\n");
}

TEST_CASE("a second writer is refused, with and without resume, and changes nothing") {
  const TempFile file("row_store_locked.jsonl");
  RowStore first(file.path, false);
  first.append(to_json(sample_row(0)));
  const std::string text = file.read();
  for (const bool resume : {false, true})
    CHECK_THROWS_WITH_AS(RowStore(file.path, resume), doctest::Contains("locked by another process"), Error);
  CHECK(file.read() == text);
}

TEST_CASE("an unwritable file is a data error that names it") {
  CHECK_THROWS_WITH_AS(RowStore("/nonexistent/rows.jsonl", false),
                       doctest::Contains("/nonexistent/rows.jsonl"), Error);
}

TEST_CASE("without resume an existing file is replaced") {
  const TempFile file("row_store_replaced.jsonl");
  file.write("anything\n");
  RowStore store(file.path, false);
  store.append(to_json(sample_row(0)));
  CHECK(file.read().starts_with("{\"schema\":\"anchor-result/1\""));
  CHECK(store.find(sample_row(0).unit) == nullptr);  // finished rows are those of an earlier run
}

TEST_CASE("of rows of one unit the last one is the result") {
  const TempFile file("row_store_twice.jsonl");
  ResultRow later = sample_row(0);
  later.density = 0.75;
  {
    RowStore store(file.path, false);
    store.append(to_json(sample_row(0)));
    store.append(to_json(later));
  }
  CHECK(RowStore(file.path, true).find(later.unit)->density == 0.75);
}

TEST_CASE("a row on disk is there before the next one: a full disk is a data error") {
  RowStore store("/dev/full", false);
  CHECK_THROWS_WITH_AS(store.append(to_json(sample_row(0))), doctest::Contains("/dev/full"), Error);
}
