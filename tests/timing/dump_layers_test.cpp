#include "anchor/timing/dump_layers.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"
#include "support/temp_dump.hpp"

using namespace anchor;

TEST_CASE("a layer of a dump is its own heads again, whole or selected") {
  const test::TempDump dump("layers.h5");
  const DumpReader reader(dump.path);
  const DumpLayers layers(reader, select_groups(reader), {});
  REQUIRE(layers.tasks().size() == 2);
  CHECK(layers.heads() == std::vector<int>{0, 1, 2, 3});
  for (const LayerTask& task : layers.tasks()) {
    CHECK(task.tokens == 96);
    const KvGroup layer = layers.load(task);
    const KvGroup& written = dump.groups[static_cast<std::size_t>(task.layer)];
    CHECK(layer.geometry == written.geometry);
    CHECK(layer.q.bytes == written.q.bytes);
    CHECK(layer.k.bytes == written.k.bytes);
    CHECK(layer.v.bytes == written.v.bytes);
  }
  const DumpLayers some(reader, select_groups(reader, {.layers = {1}, .heads = {1, 3}}), {}, "1,3");
  REQUIRE(some.tasks().size() == 1);
  CHECK(some.heads() == std::vector<int>{1, 3});
  const KvGroup layer = some.load(some.tasks()[0]);
  CHECK(layer.geometry.q_heads == 2);
  CHECK(layer.geometry.kv_heads == 2);
  const std::size_t head = 96 * 16 * sizeof(float);
  CHECK(std::equal(layer.q.bytes.begin() + static_cast<std::ptrdiff_t>(head), layer.q.bytes.end(),
                   dump.groups[1].q.bytes.begin() + static_cast<std::ptrdiff_t>(3 * head)));
  CHECK(std::get<std::string>(some.row(some.tasks()[0]).extra.at("heads")) == "1,3");
  CHECK_FALSE(layers.row(layers.tasks()[0]).extra.contains("heads"));
  CHECK(some.content(some.tasks()[0]) != layers.content(layers.tasks()[1]));
}

TEST_CASE("prefixes of the text: every length of every layer, as if the text ended there") {
  const test::TempDump dump("layers_prefix.h5");
  const DumpReader reader(dump.path);
  const std::int64_t lengths[] = {32, 96};
  const DumpLayers layers(reader, select_groups(reader), lengths);
  REQUIRE(layers.tasks().size() == 4);
  CHECK(layers.tasks()[0].tokens == 32);
  CHECK(layers.tasks()[1].layer == 1);
  CHECK(layers.tasks()[3].tokens == 96);
  const KvGroup prefix = layers.load(layers.tasks()[1]);
  CHECK(prefix.geometry.q_len == 32);
  CHECK(prefix.geometry.kv_len == 32);
  for (std::size_t head = 0; head < 2; ++head) {
    const auto begin = dump.groups[1].k.bytes.begin() + static_cast<std::ptrdiff_t>(head * 96 * 16 * 4);
    CHECK(std::equal(begin, begin + 32 * 16 * 4,
                     prefix.k.bytes.begin() + static_cast<std::ptrdiff_t>(head * 32 * 16 * 4)));
  }
  CHECK(layers.content(layers.tasks()[0]) != layers.content(layers.tasks()[2]));
}

TEST_CASE("a prefix holds the queries that were read, wherever they begin and end") {
  test::TempDump::Shape shape;
  shape.q_start = 60;
  const test::TempDump dump("layers_late.h5", shape);  // queries at 60 to 95
  const DumpReader reader(dump.path);
  const std::int64_t lengths[] = {61, 80, 96};
  const DumpLayers layers(reader, select_groups(reader), lengths);
  for (const LayerTask& task : layers.tasks()) {
    const KvGroup layer = layers.load(task);
    CHECK(layer.geometry == layers.geometry(task));
    CHECK(layer.geometry.q_len == task.tokens - 60);
    CHECK(layer.q.shape[1] == layer.geometry.q_len);
    CHECK(layer.k.shape[1] == task.tokens);
  }
  const std::int64_t before[] = {60};
  CHECK_THROWS_WITH_AS(DumpLayers(reader, select_groups(reader), before),
                       doctest::Contains("--seq 60 holds none of them"), Error);
}

TEST_CASE("uneven heads and texts that are too short are refused") {
  const test::TempDump dump("layers_wrong.h5");
  const DumpReader reader(dump.path);
  CHECK_THROWS_WITH_AS(DumpLayers(reader, select_groups(reader, {.layers = {}, .heads = {0, 1, 2}}), {}),
                       doctest::Contains("equally many"), Error);
  const std::int64_t too_long[] = {97};
  CHECK_THROWS_WITH_AS(DumpLayers(reader, select_groups(reader), too_long),
                       doctest::Contains("has 96 tokens"), Error);
}
