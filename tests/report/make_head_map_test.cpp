#include "anchor/report/make_head_map.hpp"

#include <doctest/doctest.h>

#include <numeric>

#include "anchor/engine/cpu_engine.hpp"
#include "support/temp_dump.hpp"

using namespace anchor;

TEST_CASE("a map holds one unit of attention per query row, and what the plan keeps of each cell") {
  const test::TempDump dump("head_map.h5");
  const DumpReader reader(dump.path);
  const auto engine = make_cpu_engine();
  for (const char* name : {"dense", "anchor", "topk"}) {
    CAPTURE(name);
    const Method& method = find_method(name);
    PlanRequest request{default_params(method), {}};
    if (method.name == "anchor") {
      set_param(method, request.params, "block", "16");
      set_param(method, request.params, "step", "1");
      set_param(method, request.params, "theta", "5");
    }
    if (method.name == "topk") set_param(method, request.params, "k", "8");
    const HeadMap map = make_head_map(*engine, reader, 1, 3, method, request);
    CHECK(map.q_len == 96);
    CHECK(std::accumulate(map.mass.begin(), map.mass.end(), 0.) == doctest::Approx(96).epsilon(1e-4));
    REQUIRE(map.kept.size() == map.mass.size());
    for (const float share : map.kept) CHECK((share >= 0 && share <= 1));
    const double kept = std::accumulate(map.kept.begin(), map.kept.end(), 0.);
    if (method.name == "dense") {
      for (std::int64_t tile = 0; tile < map.tiles(); ++tile)
        for (std::int64_t block = 0; block <= tile; ++block)
          CHECK(map.kept[static_cast<std::size_t>(tile * map.blocks() + block)] == 1);
    } else {
      const HeadMap all = make_head_map(*engine, reader, 1, 3, find_method("dense"),
                                        {default_params(find_method("dense")), {}});
      CHECK(kept < std::accumulate(all.kept.begin(), all.kept.end(), 0.));
      CHECK(all.mass == map.mass);
    }
    CHECK(map.stripes.empty() == (method.name != "anchor"));  // lists of single rows would hide the map
    CHECK(map.title.find("layer 1 head 3: " + method.name) != std::string::npos);
  }
}
