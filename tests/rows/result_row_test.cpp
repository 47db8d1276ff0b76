#include "anchor/rows/result_row.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "support/sample_row.hpp"

using namespace anchor;
using test::sample_row;

TEST_CASE("a row holds what applies, in full precision, and nothing else") {
  const Json json = Json::parse(to_json(sample_row(0)).dump());
  CHECK(json["schema"] == "anchor-result/1");
  CHECK(json["density"].get<double>() == 1.0 / 3);
  CHECK(json["params"]["theta"] == "inf");
  CHECK(json["params"]["block"].dump() == "128");
  CHECK(json["dump"]["layer"] == 3);
  for (const char* absent :
       {"error", "out_max_abs", "geometry", "target", "value", "curve", "time_ns", "stats", "env"}) {
    CHECK_FALSE(json.contains(absent));
  }
  CHECK(json["tool"]["version"].get<std::string>() == tool_info().version);
}

TEST_CASE("a unit depends on everything that determines the row, and on nothing else") {
  const std::vector<std::uint64_t> content{1, 2, 3};
  const ResultRow row = sample_row(0);
  const std::string unit = unit_id(row, content);
  CHECK(unit.size() == 16);
  ResultRow measured = row;
  measured.mass_recall = 0.5;
  measured.dump_path = "elsewhere.h5";
  measured.argv = {"x"};
  CHECK(unit_id(measured, content) == unit);

  CHECK(unit_id(row, std::vector<std::uint64_t>{1, 2, 4}) != unit);
  const auto changed = [&](auto change) {
    ResultRow other = row;
    change(other);
    return unit_id(other, content) != unit;
  };
  CHECK(changed([](ResultRow& r) { r.kind = "sweep"; }));
  CHECK(changed([](ResultRow& r) { r.scope = "layer"; }));
  CHECK(changed([](ResultRow& r) { r.layer = 4; }));
  CHECK(changed([](ResultRow& r) { r.head = 1; }));
  CHECK(changed([](ResultRow& r) { r.method = "dense"; }));
  CHECK(changed([](ResultRow& r) { r.params["theta"] = 1.0; }));
  CHECK(changed([](ResultRow& r) { r.target = Target{}; }));
  CHECK(changed([](ResultRow& r) { r.path = "reference"; }));
  CHECK(changed([](ResultRow& r) { r.dtype = "bf16"; }));
  CHECK(option_hash("a") != option_hash("b"));

  ResultRow shaped = row;
  shaped.geometry = Geometry{4, 2, 100, 120, 20, 64, 0.125};
  const auto reshaped = [&](auto change) {
    ResultRow other = shaped;
    change(*other.geometry);
    return unit_id(other, content) != unit_id(shaped, content);
  };
  ResultRow late = shaped;
  late.rows = RowRange{90, 100};
  CHECK(unit_id(late, content) != unit_id(shaped, content));
  CHECK(reshaped([](Geometry& g) { g.q_start = 0; }));
  CHECK(reshaped([](Geometry& g) { g.softmax_scale = 0.25; }));
  CHECK(reshaped([](Geometry& g) { g.sliding_window = 64; }));
  CHECK(reshaped([](Geometry& g) { g.kv_heads = 4; }));
}
