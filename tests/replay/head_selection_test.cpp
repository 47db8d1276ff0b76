#include "anchor/replay/head_selection.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"
#include "support/temp_dump.hpp"

using namespace anchor;

namespace {

std::vector<int> layers_of(const std::vector<GroupSelection>& groups) {
  std::vector<int> layers;
  for (const GroupSelection& group : groups) layers.push_back(group.layer);
  return layers;
}

}  // namespace

TEST_CASE("without a selection every head of every group is selected once, in file order") {
  const test::TempDump dump("selection_all.h5", {.layers = {2, 5}, .q_heads = 6, .kv_heads = 3});
  const DumpReader reader(dump.path);
  const std::vector<GroupSelection> groups = select_groups(reader);
  REQUIRE(groups.size() == 6);
  CHECK(layers_of(groups) == std::vector<int>{2, 2, 2, 5, 5, 5});
  for (std::size_t n = 0; n < groups.size(); ++n) {
    const int kv_head = static_cast<int>(n % 3);
    CHECK(groups[n].kv_head == kv_head);
    CHECK(groups[n].first_head == 2 * kv_head);
    CHECK(groups[n].heads == std::vector<int>{2 * kv_head, 2 * kv_head + 1});
    CHECK(groups[n].locals() == std::vector<int>{0, 1});
  }
}

TEST_CASE("a selection keeps its layers and heads, and leaves groups without any out") {
  const test::TempDump dump("selection_some.h5", {.layers = {2, 5}, .q_heads = 6, .kv_heads = 3});
  const DumpReader reader(dump.path);
  const std::vector<GroupSelection> groups = select_groups(reader, {.layers = {5}, .heads = {1, 4, 5}});
  REQUIRE(groups.size() == 2);
  CHECK(layers_of(groups) == std::vector<int>{5, 5});
  CHECK(groups[0].heads == std::vector<int>{1});
  CHECK(groups[0].locals() == std::vector<int>{1});
  CHECK(groups[1].kv_head == 2);
  CHECK(groups[1].heads == std::vector<int>{4, 5});
}

TEST_CASE("what is not there is a data error that says what is") {
  const test::TempDump dump("selection_wrong.h5", {.layers = {2, 5}});
  const DumpReader reader(dump.path);
  CHECK_THROWS_WITH_AS(select_groups(reader, {.layers = {3}, .heads = {}}), doctest::Contains("2"), Error);
  CHECK_THROWS_WITH_AS(select_groups(reader, {.layers = {}, .heads = {4}}), doctest::Contains("4"), Error);
}

TEST_CASE("dumps of one model have the same heads") {
  const test::TempDump one("selection_model_a.h5"), same("selection_model_b.h5", {.length = 40});
  const test::TempDump other("selection_model_c.h5", {.q_heads = 2, .kv_heads = 2});
  const DumpReader reader(one.path), alike(same.path), foreign(other.path);
  const auto groups = select_groups(reader);
  CHECK_NOTHROW(require_same_heads(reader, alike, groups));
  CHECK_THROWS_WITH_AS(require_same_heads(reader, foreign, groups), doctest::Contains(other.path.c_str()),
                       Error);
}

TEST_CASE("rows name their dump, layer and head; content tells layers apart and nothing else") {
  const test::TempDump dump("selection_rows.h5"), copy("selection_rows_copy.h5");
  const DumpReader reader(dump.path), again(copy.path);
  const ResultRow row = head_row(reader, 1, 3);
  CHECK(row.scope == "head");
  CHECK(row.dump_path == dump.path);
  CHECK(row.model == "random heads");
  CHECK(row.layer == 1);
  CHECK(row.head == 3);
  CHECK(row.kv_head == 1);
  CHECK(row.dtype == "f32");
  CHECK(row.geometry == dump.groups[1].geometry);
  const ResultRow layer = layer_row(reader, 1);
  CHECK(layer.scope == "layer");
  CHECK_FALSE(layer.head);
  CHECK_FALSE(layer.kv_head);
  CHECK(layer.geometry == row.geometry);
  CHECK(layer_content(reader, 0) != layer_content(reader, 1));
  CHECK(layer_content(reader, 0) == layer_content(again, 0));  // the same numbers in another file
}

TEST_CASE("the memory of a group grows with its heads and tokens, and a limit below it is refused") {
  const test::TempDump small("selection_small.h5"), long_one("selection_long.h5", {.length = 192});
  const test::TempDump wide("selection_wide.h5", {.q_heads = 8});
  const auto bytes = [](const test::TempDump& dump) {
    const DumpReader reader(dump.path);
    return check_memory(reader, select_groups(reader), 0);
  };
  const std::int64_t least = 96 * 16 * (2 + 2) * 4;  // the stored tensors alone
  CHECK(bytes(small) > least);
  CHECK(bytes(long_one) == 2 * bytes(small));
  CHECK(bytes(wide) > bytes(small));
  const DumpReader reader(small.path);
  const auto groups = select_groups(reader);
  CHECK(check_memory(reader, groups, bytes(small)) == bytes(small));
  CHECK_THROWS_WITH_AS(check_memory(reader, groups, bytes(small) - 1), doctest::Contains("--memory"), Error);
}
