#include "anchor/replay/replay_rows.hpp"

#include <doctest/doctest.h>

#include <set>

#include "anchor/base/error.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "anchor/replay/replay.hpp"
#include "support/temp_dump.hpp"

using namespace anchor;

namespace {

MethodRequest small(const char* name) {
  const Method& method = find_method(name);
  MethodRequest made{&method, {default_params(method), {}}};
  const auto known = made.request.params.values();
  if (known.contains("block")) set_param(method, made.request.params, "block", "16");
  if (known.contains("step")) set_param(method, made.request.params, "step", "1");
  if (known.contains("local")) set_param(method, made.request.params, "local", "16");
  return made;
}

}  // namespace

TEST_CASE("rows come head by head, each with what its own method keeps of that head") {
  const test::TempDump dump("replay_rows.h5");
  const DumpReader reader(dump.path);
  const auto engine = make_cpu_engine();
  const auto groups = select_groups(reader, {.layers = {1}, .heads = {1, 2, 3}});
  const std::vector<MethodRequest> methods{small("anchor"), small("streaming"), small("dense")};
  std::set<std::string> units;
  for (const GroupSelection& group : groups) {
    const ReplayRows replayed(group, methods, false);
    std::vector<ResultRow> rows = replayed.templates(reader, *engine, {"a", "b"});
    REQUIRE(rows.size() == 3 * group.heads.size());
    LoadedGroup loaded{reader.read_group(group.layer, group.kv_head), ""};
    replayed.fill(rows, *engine, loaded);
    const auto inputs = engine->upload(loaded.group);
    const auto dense = engine->dense_reference(*inputs);
    for (std::size_t n = 0; n < methods.size(); ++n) {
      const Replay expected = replay(*engine, *inputs, *methods[n].method, methods[n].request, *dense);
      for (std::size_t h = 0; h < group.heads.size(); ++h) {
        const ResultRow& row = rows[3 * h + n];
        ResultRow own;
        fill_measured(own, expected.heads[static_cast<std::size_t>(group.heads[h] - group.first_head)]);
        CHECK(row.ok());
        CHECK(row.kind == "recall");
        CHECK(row.head == group.heads[h]);
        CHECK(row.method == methods[n].method->name);
        CHECK(row.params == methods[n].request.params.values());  // the knob, too
        CHECK(row.plan_path == "cpu");
        CHECK(row.argv == std::vector<std::string>{"a", "b"});
        CHECK_FALSE(row.sparsity);
        for (const std::string_view name : quantity_names())
          CHECK(quantity(row, name) == quantity(own, name));
        units.insert(row.unit);
      }
    }
  }
  CHECK(units.size() == 9);
}

TEST_CASE("statistics make other results: other units, and every row has them") {
  const test::TempDump dump("replay_rows_stats.h5");
  const DumpReader reader(dump.path);
  const auto engine = make_cpu_engine();
  const GroupSelection group = select_groups(reader)[0];
  const ReplayRows plain(group, {small("anchor")}, false), with(group, {small("anchor")}, true);
  std::vector<ResultRow> rows = with.templates(reader, *engine, {});
  CHECK(rows[0].unit != plain.templates(reader, *engine, {})[0].unit);
  with.fill(rows, *engine, {reader.read_group(0, 0), ""});
  for (const ResultRow& row : rows) CHECK(row.sparsity);
}

TEST_CASE("knobs of single heads stand in their rows") {
  const test::TempDump dump("replay_rows_knobs.h5");
  const DumpReader reader(dump.path);
  const auto engine = make_cpu_engine();
  MethodRequest asked = small("anchor");
  asked.request.knobs = {1.5, 2.5};
  const auto rows = ReplayRows(select_groups(reader)[1], {asked}, false).templates(reader, *engine, {});
  CHECK(std::get<double>(rows[0].params.at("theta")) == 1.5);
  CHECK(std::get<double>(rows[1].params.at("theta")) == 2.5);
}

TEST_CASE("what is wrong with data fails the rows it concerns, and no others") {
  const test::TempDump dump("replay_rows_wrong.h5");
  const DumpReader reader(dump.path);
  const auto engine = make_cpu_engine();
  const GroupSelection group = select_groups(reader)[0];
  const ReplayRows both(group, {small("anchor"), small("dense")}, false);
  std::vector<ResultRow> rows = both.templates(reader, *engine, {});
  both.fill(rows, *engine, {{}, "torn"});
  for (const ResultRow& row : rows) {
    CHECK(row.status == "error");
    CHECK(row.error == "torn");
    CHECK_FALSE(row.density);
  }

  // Block planners need a query for every key, which this dump does not have.
  const test::TempDump late("replay_rows_late.h5", {.q_start = 32});
  const DumpReader part(late.path);
  const GroupSelection first = select_groups(part)[0];
  const ReplayRows mixed(first, {small("dense"), small("xattention"), small("streaming")}, false);
  rows = mixed.templates(part, *engine, {});
  mixed.fill(rows, *engine, {part.read_group(0, 0), ""});
  for (std::size_t n = 0; n < rows.size(); ++n) {
    CHECK(rows[n].ok() == (n % 3 != 1));
    CHECK(rows[n].density.has_value() == rows[n].ok());
    if (!rows[n].ok()) CHECK(rows[n].error.find("xattention") == 0);
  }
}
