#include "anchor/tuning/prompt_calibration.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "support/params.hpp"
#include "support/small_dump.hpp"

using namespace anchor;
using test::SmallDump;

namespace {

constexpr double error = 0.02;

DumpStream stream_in_order() { return DumpStream({.device = "cpu", .in_order = true}); }

/// A start at which these heads, with nothing else to leave out, err enough to be halved.
MethodRun sale() { return test::run_of("sale", {{"theta_h", "0.5"}}); }

}  // namespace

TEST_CASE("prompts go on where the last one ended, as the search of single groups does") {
  const SmallDump a(1, 2, 1200), b(7, 2, 1100);
  const std::vector<const DumpReader*> prompts{&a.reader(), &b.reader()};
  const auto groups = select_groups(a.reader(), {.layers = {}, .heads = {1, 2}});
  const MethodRun run = sale();
  std::vector<CalibratedGroup> found;
  calibrate_prompts(stream_in_order(), prompts, groups, run, error,
                    [&](const CalibratedGroup& group) { found.push_back(group); });
  REQUIRE(found.size() == groups.size() * 2);
  const auto engine = make_cpu_engine();
  std::size_t at = 0, halved = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    std::vector<double> knobs(groups[g].heads.size(), 0.5);
    for (std::size_t p = 0; p < 2; ++p, ++at) {
      const auto inputs = engine->upload(prompts[p]->read_group(groups[g].layer, groups[g].kv_head));
      const auto dense = engine->dense_reference(*inputs);
      const auto expected =
          calibrate(*engine, *inputs, *run.method, run.params, error, groups[g].locals(), knobs, *dense);
      CHECK(found[at].index == g);
      CHECK(found[at].prompt == p);
      REQUIRE(found[at].heads.size() == knobs.size());
      for (std::size_t h = 0; h < knobs.size(); ++h) {
        const CalibratedHead& head = found[at].heads[h];
        CHECK(head.knob == knobs[h]);
        CHECK(head.replay.stats.density() == expected[h].stats.density());
        CHECK(head.out_l1 == row_l1(expected[h].difference, inputs->geometry()));
        CHECK((head.knob == 0 || head.out_l1 < error));
        halved += head.knob < 0.5;
      }
    }
  }
  CHECK(halved > 0);
}

TEST_CASE("a prompt that cannot be read fails alone, and the next one goes on") {
  const SmallDump a(1, 1, 1200, 16, {{0, 0}}), b(7, 1, 1100);
  const std::vector<const DumpReader*> prompts{&a.reader(), &b.reader()};
  std::vector<bool> failed;
  calibrate_prompts(stream_in_order(), prompts, select_groups(a.reader()), sale(), error,
                    [&](const CalibratedGroup& group) {
                      failed.push_back(!group.error.empty());
                      CHECK(group.heads.empty() == failed.back());
                    });
  CHECK(failed == std::vector<bool>{true, false, false, false});
}

TEST_CASE("only methods with a published rule are calibrated, from above its floor") {
  CHECK_THROWS_WITH_AS(check_calibration(test::run_of("anchor")), doctest::Contains("no paper"), Error);
  CHECK_THROWS_WITH_AS(check_calibration(test::run_of("sale", {{"theta_h", "0"}})),
                       doctest::Contains("above"), Error);
  CHECK_NOTHROW(check_calibration(test::run_of("sale")));
}

TEST_CASE("a calibration starts at a number above its floor, so that halving ends") {
  for (const auto& [start, words] : {std::pair{"0", "must start above"},
                                     {"0.0001", "must start above"},
                                     {"inf", "halves of infinity never end"}}) {
    const MethodRun run = test::run_of("sale", {{"theta_h", start}});
    CHECK_THROWS_WITH_AS(check_calibration(run), doctest::Contains(words), Error);
  }
}
