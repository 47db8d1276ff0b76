#include "anchor/tuning/dump_clusters.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "anchor/rows/result_row.hpp"
#include "anchor/tuning/head_clusters.hpp"
#include "support/small_dump.hpp"

using namespace anchor;
using test::SmallDump;

TEST_CASE("a dump's heads are clustered by their block masses") {
  const SmallDump dump(1, 2, 700);
  const DumpStream stream({.device = "cpu"});
  const auto groups = select_groups(dump.reader());
  std::vector<HeadPattern> patterns;
  const auto engine = make_cpu_engine();
  for (const GroupSelection& group : groups) {
    const auto inputs = engine->upload(dump.reader().read_group(group.layer, group.kv_head));
    for (int head = 0; head < 2; ++head)
      patterns.push_back(
          head_pattern(engine->mass(*inputs, head, {.group_rows = 0, .tile_rows = 128, .block_keys = 128})));
  }
  for (const double cut : {0., 0.05, 0.2, 1.}) {
    const DumpClusters found = cluster_dump(stream, dump.reader(), groups, cut);
    CHECK(found.labels == cluster_heads(patterns, cut));
    REQUIRE(found.heads.size() == 8);
    CHECK(found.heads[0] == std::pair{0, 0});
    CHECK(found.heads[7] == std::pair{1, 3});
  }
  CHECK(cluster_dump(stream, dump.reader(), groups, 1).sharing_heads() == 8);
  CHECK(cluster_dump(stream, dump.reader(), groups, 0).shared().empty());
}

TEST_CASE("the file lists every head once, and which clusters are shared") {
  const DumpClusters made{"a model", "d.h5", 0.3, {{0, 0}, {0, 1}, {1, 0}, {1, 1}}, {0, 1, 0, 2}};
  CHECK(made.shared() == std::vector<int>{0});
  CHECK(made.sharing_heads() == 2);
  const Json file = Json::parse(clusters_text(made));
  CHECK(file["format"] == "anchor-clusters");
  CHECK(file["cut"] == 0.3);
  CHECK(file["clusters"].dump() == R"({"0":[[0,0],[1,0]],"1":[[0,1]],"2":[[1,1]]})");
  CHECK(file["shared_clusters"].dump() == R"(["0"])");
  CHECK(file["calibrated_on"].dump() == R"(["d.h5"])");
}

TEST_CASE("a head that cannot be read is an error: clusters have no place for it") {
  const SmallDump dump(1, 1, 200, 16, {{0, 1}});
  CHECK_THROWS_WITH_AS(
      cluster_dump(DumpStream({.device = "cpu"}), dump.reader(), select_groups(dump.reader()), 0.4),
      doctest::Contains("NaN"), Error);
}
