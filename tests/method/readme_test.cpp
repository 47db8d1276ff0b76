#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "anchor/data/dump_reader.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "anchor/plan/sparse_plan.hpp"
#include "anchor/replay/replay.hpp"

namespace anchor {
Method key_norm_method();  // the build takes it out of lib/anchor/method/README.md
}

using namespace anchor;

namespace {

/// density, mass_recall, mass_recall_min and output_recall_0.01 of a head, as the page prints them.
std::array<double, 4> printed_row(const std::string& page, int layer, int head) {
  const auto at = page.find(fmt::format("\n| {:>5} | {:>4} |", layer, head));
  REQUIRE(at != std::string::npos);
  std::array<double, 4> row{};
  REQUIRE(std::sscanf(page.c_str() + at, "\n| %*d | %*d | %lf | %lf | %lf | %lf |", &row[0], &row[1], &row[2],
                      &row[3]) == 4);
  return row;
}

}  // namespace

TEST_CASE("the method written in the README makes valid plans and gives the rows printed there") {
  const Method method = key_norm_method();
  PlanRequest request{default_params(method), {}};
  set_param(method, request.params, "k", "64");
  std::ifstream file(ANCHOR_SOURCE_DIR "/lib/anchor/method/README.md");
  std::stringstream page;
  page << file.rdbuf();

  const DumpReader reader(ANCHOR_SOURCE_DIR "/data/smollm2.h5");
  const auto engine = make_cpu_engine();
  const auto inputs = engine->upload(reader.read_group(17, 0));
  const auto dense = engine->dense_reference(*inputs);
  const Geometry& g = inputs->geometry();
  CHECK(validate(engine->plan(method, request, *inputs, 0, g.q_len)->to_host()) == "");
  const Replay replayed = replay(*engine, *inputs, method, request, *dense);
  for (int head = 0; head < g.q_heads; ++head) {
    CAPTURE(head);
    const HeadReplay& found = replayed.heads[static_cast<std::size_t>(head)];
    const auto [density, recall, least, close] = printed_row(page.str(), 17, head);
    const double rounding = 1.1e-4;  // of the page, and of sums in another order
    CHECK(std::abs(found.stats.density() - density) < rounding);
    CHECK(std::abs(found.recall.mean - recall) < rounding);
    CHECK(std::abs(found.recall.min - least) < rounding);
    CHECK(std::abs(found.difference.recall_001() - close) < rounding);
  }
}
