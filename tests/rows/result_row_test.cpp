#include "anchor/rows/result_row.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "anchor/base/error.hpp"
#include "anchor/rows/row_store.hpp"
#include "anchor/tuning/thresholds.hpp"

using namespace anchor;

namespace {

/// A file that disappears with the test.
struct TempFile {
  explicit TempFile(const char* name) : path((std::filesystem::temp_directory_path() / name).string()) {
    std::filesystem::remove(path);
  }
  ~TempFile() { std::filesystem::remove(path); }
  void write(const std::string& text) const { std::ofstream(path, std::ios::binary) << text; }
  std::string read() const {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string path;
};

ResultRow sample(int head) {
  ResultRow row;
  row.kind = "recall";
  row.layer = 3;
  row.head = head;
  row.method = "anchor";
  row.params = {{"theta", HUGE_VAL}, {"block", 128.0}, {"mode", std::string("clean")}};
  row.path = "cpu";
  row.density = 1.0 / 3;
  row.unit = unit_id(row, std::vector<std::uint64_t>{1, 2, 3});
  return row;
}

}  // namespace

TEST_CASE("a row holds what applies, in full precision, and nothing else") {
  const Json json = Json::parse(to_json(sample(0)).dump());
  CHECK(json["schema"] == "anchor-result/1");
  CHECK(json["density"].get<double>() == 1.0 / 3);
  CHECK(json["params"]["theta"] == "inf");
  CHECK(json["params"]["block"].dump() == "128");
  CHECK(json["dump"]["layer"] == 3);
  for (const char* absent :
       {"error", "mass_recall", "geometry", "target", "value", "curve", "time_ns", "stats", "env"}) {
    CHECK_FALSE(json.contains(absent));
  }
  CHECK(json["tool"]["version"].get<std::string>() == tool_info().version);
}

TEST_CASE("a unit depends on everything that determines the row, and on nothing else") {
  const std::vector<std::uint64_t> content{1, 2, 3};
  const ResultRow row = sample(0);
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
}

TEST_CASE("resume keeps whole rows, cuts a torn last line, retries errors, and appends") {
  const TempFile file("anchor_row_store_test.jsonl");
  ResultRow failed = sample(1);
  failed.status = "error";
  {
    RowStore store(file.path, false);
    store.append(to_json(sample(0)));
    store.append(to_json(failed));
  }
  const std::string whole = file.read();
  file.write(whole + R"({"schema":"anchor-result/1","uni)");
  {
    RowStore store(file.path, true);
    REQUIRE(store.find(sample(0).unit) != nullptr);
    CHECK(store.find(sample(0).unit)->head == 0);
    CHECK(store.find(failed.unit) == nullptr);
    CHECK(store.find("0") == nullptr);
    store.append(to_json(sample(2)));
  }
  CHECK(file.read().starts_with(whole));
  const RowStore again(file.path, true);
  CHECK(again.find(sample(2).unit) != nullptr);
}

TEST_CASE("resume refuses a file of something else and leaves it as it is") {
  const TempFile file("anchor_row_store_foreign.jsonl");
  file.write("name,value\na,1\n");
  CHECK_THROWS_WITH_AS(RowStore(file.path, true), doctest::Contains("line 1"), Error);
  CHECK(file.read() == "name,value\na,1\n");
}

TEST_CASE("an unwritable file is a data error that names it") {
  CHECK_THROWS_WITH_AS(RowStore("/nonexistent/rows.jsonl", false),
                       doctest::Contains("/nonexistent/rows.jsonl"), Error);
}

TEST_CASE("thresholds survive the trip through their file") {
  Thresholds made;
  made.method = "anchor";
  made.knob = "theta";
  made.params = {{"step", 4.0}, {"mode", std::string("clean")}};
  made.calibrated_on = {"a.h5", "b.h5"};
  made.target.value = 0.9;
  const double third = static_cast<double>(1.0f / 3);
  made.layers.push_back({5, {0, 2}, {third, -HUGE_VAL}, {0.95, 1}, {0.2, 0.1}});
  const TempFile file("anchor_thresholds_test.json");
  file.write(thresholds_text(made));
  const Thresholds read = read_thresholds(file.path);
  CHECK(read.params == made.params);
  CHECK(read.calibrated_on == made.calibrated_on);
  CHECK(read.target.value == 0.9);
  const Method& method = find_method(read.method);
  const auto applied = [&](int layer, std::vector<int> heads) {
    PlanRequest request{default_params(method), {}};
    read.apply(method, layer, heads, file.path, request);
    return request;
  };
  CHECK(applied(5, {0, 2}).knobs == std::vector<double>{third, -HUGE_VAL});
  CHECK(applied(5, {-1}).knobs == std::vector<double>{default_params(method).real(read.knob)});
  CHECK(applied(5, {0}).head_params.empty());
  CHECK_THROWS_WITH_AS(applied(5, {1}), doctest::Contains("layer 5 head 1"), Error);
  CHECK_THROWS_WITH_AS(applied(6, {0}), doctest::Contains("layer 6"), Error);
}

TEST_CASE("heads may have parameters of their own: format 1.1") {
  Thresholds made;
  made.method = "stripes";
  made.knob = "theta";
  made.layers.push_back({0, {0, 1}, {3, 4}, {1, 1}, {0.2, 0.1}});
  const TempFile file("anchor_thresholds_heads.json");
  file.write(thresholds_text(made));
  CHECK(file.read().find("\"1.0\"") != std::string::npos);
  made.layers[0].params["score"] = {std::string("pooled"), std::string("rows")};
  made.layers[0].params["window"] = {128., 0.};
  file.write(thresholds_text(made));
  CHECK(file.read().find("\"1.1\"") != std::string::npos);
  const Thresholds read = read_thresholds(file.path);
  const Method& method = find_method("stripes");
  PlanRequest request{default_params(method), {}};
  read.apply(method, 0, std::vector<int>{1, -1, 0}, file.path, request);
  CHECK(request.of(0).choice("score") == "rows");
  CHECK(request.of(1).choice("score") == "pooled");
  CHECK(request.of(2).choice("score") == "pooled");
  CHECK(request.of(0).integer("window") == 0);
  CHECK(request.of(2).integer("window") == 128);
  CHECK(request.knobs == std::vector<double>{4, default_params(method).real("theta"), 3});

  made.layers[0].params = {{"block", {64., 128.}}};
  file.write(thresholds_text(made));
  CHECK_THROWS_WITH_AS(read_thresholds(file.path).apply(method, 0, std::vector<int>{0}, file.path, request),
                       doctest::Contains("\"block\" of single heads"), Error);
  made.layers[0].params = {{"score", {std::string("best"), 1.}}};
  file.write(thresholds_text(made));
  CHECK_THROWS_WITH_AS(read_thresholds(file.path).apply(method, 0, std::vector<int>{0}, file.path, request),
                       doctest::Contains("stripes.score = best"), Error);
  made.layers[0].params = {{"score", {std::string("rows")}}};
  file.write(thresholds_text(made));
  CHECK_THROWS_WITH_AS(read_thresholds(file.path), doctest::Contains("one value per head"), Error);
}

TEST_CASE("a broken thresholds file says what is wrong with it") {
  const TempFile file("anchor_thresholds_broken.json");
  const std::string start = R"({"format":"anchor-thresholds","format_version":)";
  const std::pair<std::string, const char*> broken[] = {
      {"not json", "not a thresholds file"},
      {"[1]", "not a thresholds file"},
      {R"({"format":"other"})", "not a thresholds file"},
      {start + R"("2.0"})", "format_version 2.0"},
      {start + R"("1.0"})", "\"method\""},
      {start +
           R"("1.0","method":"anchor","knob":"theta","params":{},"layers":[{"layer":0,"heads":[0,1],"value":[1]}]})",
       "layer 0 lists 2 heads and 1 values"},
      {start +
           R"("1.0","method":"anchor","knob":"theta","params":{},"layers":[{"layer":0,"heads":[0],"value":["x"]}]})",
       "\"value\""},
  };
  for (const auto& [text, message] : broken) {
    CAPTURE(text);
    file.write(text);
    CHECK_THROWS_WITH_AS(read_thresholds(file.path), doctest::Contains(message), Error);
  }
}

namespace {

/// A row with every field that the schema has.
ResultRow full_row() {
  ResultRow row = sample(2);
  row.kv_head = 1;
  row.dump_path = "d.h5";
  row.model = "M";
  row.geometry = Geometry{6, 3, 100, 120, 20, 64};
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
  row.sparsity = {{"sink_share", 0.25}};
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
  CHECK(json.size() == 36);
  CHECK(to_json(row_from_json(Json::parse(json.dump()), "test")).dump() == json.dump());
  const ResultRow read = row_from_json(json, "test");
  for (const std::string_view name : quantity_names()) {
    CAPTURE(std::string(name));
    CHECK(quantity(read, name) == number_from_json(json[std::string(name)]));
  }
  CHECK(quantity(read, "heads") == 9);
  CHECK_FALSE(quantity(read, "choice"));
  CHECK_FALSE(quantity(sample(0), "mass_recall"));
}

TEST_CASE("a broken field is named, wherever it stands") {
  const std::pair<const char*, Json> broken[] = {
      {"/kind", 1},
      {"/density", "much"},
      {"/density", Json::array()},
      {"/dump/layer", 1.5},
      {"/dump", "d.h5"},
      {"/geometry/q_len", "long"},
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
