#include "anchor/replay/row_stamp.hpp"

#include <doctest/doctest.h>

#include "anchor/engine/cpu_engine.hpp"

using namespace anchor;

TEST_CASE("a stamp says what was run, where and by which command, and touches nothing else") {
  const auto engine = make_cpu_engine();
  const Method& method = find_method("anchor");
  MethodRun run{&method, default_params(method)};
  run.params.set("step", 4.);
  ResultRow row;
  row.kind = "recall";
  row.layer = 3;
  row.density = 0.5;
  stamp(row, *engine, run, {"anchor-recall", "D.h5"});
  CHECK(row.method == "anchor");
  CHECK(row.device == "cpu");
  CHECK(row.path == "cpu");
  CHECK(std::get<double>(row.params.at("step")) == 4);
  CHECK(row.argv == std::vector<std::string>{"anchor-recall", "D.h5"});
  CHECK(row.env.contains("cores"));
  CHECK(row.kind == "recall");
  CHECK(row.layer == 3);
  CHECK(row.density == 0.5);
  CHECK(row.plan_path.empty());  // known once a plan was made
}

TEST_CASE("a stamp leaves the knob to the row: runs that differ in it alone have one identity") {
  const auto engine = make_cpu_engine();
  for (const Method& method : methods()) {
    if (method.knob.empty()) continue;
    CAPTURE(method.name);
    MethodRun run{&method, default_params(method)};
    ResultRow one, other;
    stamp(one, *engine, run, {});
    CHECK(!one.params.contains(method.knob));
    CHECK(one.params.size() + 1 == run.params.values().size());
    run.params.set(method.knob, 1.);
    stamp(other, *engine, run, {});
    CHECK(unit_id(one, {}) == unit_id(other, {}));
  }
}

TEST_CASE("a stamp without a run leaves method and parameters alone: those of a vendor's library") {
  const auto engine = make_cpu_engine();
  ResultRow row;
  row.method = "cudnn";
  stamp(row, *engine, {"anchor-bench"});
  CHECK(row.method == "cudnn");
  CHECK(row.params.empty());
  CHECK(row.device == engine->device());
}
