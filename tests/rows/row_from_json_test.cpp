#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/rows/result_row.hpp"
#include "support/sample_row.hpp"

using namespace anchor;
using test::sample_row;

namespace {

/// A row with every field that the schema has.
ResultRow full_row() {
  ResultRow row = sample_row(2);
  row.kv_head = 1;
  row.dump_path = "d.h5";
  row.model = "M";
  row.geometry = Geometry{6, 3, 100, 120, 20, 64};
  row.geometry->sliding_window = 32;
  row.rows = RowRange{90, 100};
  row.dtype = "bf16";
  row.device = "cpu";
  row.plan_path = "cuda";
  double value = 0.1;
  for (const std::string_view name : quantity_names()) {
    Json changed = to_json(row);
    changed[std::string(name)] = value += 0.01;
    row = row_from_json(changed, "test");
  }
  row.target = Target{"out_rel_l2", "mean over the layer", 0.05};
  row.value = -HUGE_VAL;
  row.curve = CurvePoints{{-HUGE_VAL, 1}, {0.1, 0.3}, {0.5, 0.9}, {0.4, 0.8}, {0.1, 0.2}, {0.3, 0.2}};
  row.time_ns = {{"total", {5, 6}}};
  row.stages_ns = {{"plan", 3}};
  row.stats = {5.5, 5, 6, 2};
  row.sparsity = SparsityStats{{0.5, 0.25}, 0.75, 0.125, 0.25, {0.1, 0.2, 0.7}};
  row.extra = {{"choice", std::string("global")}, {"heads", 9.}};
  row.env = {{"host", std::string("h")}, {"cores", 2.}};
  row.argv = {"anchor-recall", "d.h5"};
  row.tool = ToolInfo{"9.9", "abc", true, "Debug"};
  row.time = "2026-01-01T00:00:00Z";
  return row;
}

}  // namespace

TEST_CASE("a row survives the trip through its JSON, every field of it") {
  const Json json = to_json(full_row());
  CHECK(json.size() == 40);
  CHECK(to_json(row_from_json(Json::parse(json.dump()), "test")).dump() == json.dump());
  const ResultRow read = row_from_json(json, "test");
  for (const std::string_view name : quantity_names()) {
    CAPTURE(std::string(name));
    CHECK(quantity(read, name) == number_from_json(json[std::string(name)]));
  }
  CHECK(quantity(read, "heads") == 9);
  CHECK_FALSE(quantity(read, "choice"));
  CHECK_FALSE(quantity(sample_row(0), "out_max_abs"));
}

TEST_CASE("a broken field is named, wherever it stands") {
  const std::pair<const char*, Json> broken[] = {
      {"/kind", 1},
      {"/density", "much"},
      {"/density", Json::array()},
      {"/dump/layer", 1.5},
      {"/dump", "d.h5"},
      {"/geometry/q_len", "long"},
      {"/geometry/rows", "last"},
      {"/geometry/rows", "7-3"},
      {"/geometry/rows", "90-100"},
      {"/params/theta", Json::object()},
      {"/target/value", Json()},
      {"/curve/knob", Json::array()},
      {"/curve/density", Json::array({1})},
      {"/curve/out_rel_l2", Json::array({1})},
      {"/time_ns/total", 3},
      {"/stages_ns/plan", 1.5},
      {"/stats/ci95_ns", Json::array({1})},
      {"/tool/dirty", 1},
      {"/argv", "anchor-recall"},
      {"/sparsity/row_max", 1},
      {"/sparsity/sink_share", "half"},
      {"/status", "fine"},
      {"/density", 1.5},
      {"/mass_recall", -0.1},
      {"/out_rel_l2", -1},
      {"/dump/head", -1},
      {"/dump/layer", 1e300},
      {"/geometry/q_heads", 0},
      {"/geometry/kv_heads", 4},
      {"/geometry/head_dim", -64},
      {"/geometry/kv_len", 0},
      {"/geometry/q_start", -1},
      {"/geometry/window", 0},
      {"/curve/mass_recall", Json::array({0.5, 7})},
      {"/stats/n", -1},
      {"/stats/median_ns", -5},
      {"/time_ns/total", Json::array({-5})},
  };
  for (const auto& [pointer, value] : broken) {
    Json json = to_json(full_row());
    json[Json::json_pointer(pointer)] = value;
    CAPTURE(pointer);
    const std::string path(pointer);
    const std::string field = path.substr(path.rfind('/') + 1);
    const bool inner = path.rfind('/') > 0;
    CHECK_THROWS_WITH_AS(row_from_json(json, "rows.jsonl:7"), doctest::Contains("rows.jsonl:7: field \""),
                         Error);
    if (!inner) CHECK_THROWS_WITH_AS(row_from_json(json, "x"), doctest::Contains(field.c_str()), Error);
  }
  for (const char* needed : {"kind", "status"}) {
    Json json = to_json(full_row());
    json.erase(needed);
    CHECK_THROWS_WITH_AS(row_from_json(json, "x"), doctest::Contains("is missing"), Error);
  }
}

TEST_CASE("a result without what its kind has is refused, not read as zero") {
  const auto lacking = [](const char* kind, const char* field, const char* status = "ok") {
    Json json = to_json(full_row());
    json["kind"] = kind;
    json["status"] = status;
    json.erase(field);
    return json;
  };
  for (const auto& [kind, field] :
       {std::pair{"sweep", "value"}, {"sweep", "density"}, {"recall", "mass_recall"}, {"curve", "curve"}}) {
    CAPTURE(field);
    CHECK_THROWS_WITH_AS(row_from_json(lacking(kind, field), "r.jsonl:3"),
                         doctest::Contains(fmt::format("r.jsonl:3: field \"{}\" is missing", field).c_str()),
                         Error);
    CHECK_NOTHROW(row_from_json(lacking(kind, field, "error"), "x"));
  }
}

TEST_CASE("fewer than six samples have no interval") {
  ResultRow row = full_row();
  row.stats = {5.5, 5, 6, 5};
  CHECK_FALSE(row.stats->has_interval());
  CHECK_FALSE(to_json(row)["stats"].contains("ci95_ns"));
  row.stats->n = 6;
  CHECK(to_json(row)["stats"]["ci95_ns"] == Json::array({5, 6}));
  Json without = to_json(row);
  without["stats"].erase("ci95_ns");
  CHECK_FALSE(row_from_json(without, "x").stats->has_interval());
}

TEST_CASE("a row of another program keeps its numbers and words, and is not said to be of this build") {
  const Json json{{"schema", "anchor-result/1"}, {"kind", "recall"},   {"status", "ok"},
                  {"perplexity", 7.5},           {"judge", "someone"}, {"nested", {1, 2}},
                  {"t", "2026-01-01T00:00:00Z"}};
  const ResultRow row = row_from_json(json, "test");
  CHECK(quantity(row, "perplexity") == 7.5);
  CHECK(std::get<std::string>(row.extra.at("judge")) == "someone");
  CHECK_FALSE(row.extra.contains("nested"));
  CHECK_FALSE(to_json(row).contains("tool"));
  CHECK(to_json(row)["t"] == "2026-01-01T00:00:00Z");
  Json named = json;
  named["tool"] = {{"version", "score_output.py"}};
  CHECK(to_json(row_from_json(named, "test"))["tool"] == named["tool"]);
}
