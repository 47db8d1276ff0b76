#include "anchor/tuning/head_sweep.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/engine/cpu_engine.hpp"
#include "anchor/tuning/allocation.hpp"
#include "support/curve.hpp"
#include "support/kv_group.hpp"
#include "support/params.hpp"

using namespace anchor;

namespace {

const std::vector<int> heads{1, 2};

}  // namespace

TEST_CASE("a sweep finds the least knob of the exact curve, measures it, and shows what was asked for") {
  const auto engine = make_cpu_engine();
  const MethodRun run = test::run_of("anchor", {{"block", "16"}, {"step", "2"}});
  for (const std::int64_t length : {96, 300}) {
    const auto inputs = engine->upload(test::random_group(test::square(length, 32, 3, 1), DType::f32, 4, 3));
    for (const auto shown : {SweepRequest::Shown::nothing, SweepRequest::Shown::grid,
                             SweepRequest::Shown::thin, SweepRequest::Shown::full}) {
      const SweepRequest request{
          .target_recall = 0.8, .grid = {1, 3, 5}, .shown = shown, .floor = 0.5, .row_curve_points = 4};
      std::unique_ptr<DenseReference> dense;
      const GroupSweep swept = sweep_group(*engine, *inputs, *run.method, run.params, request, heads, dense);
      REQUIRE(swept.heads.size() == heads.size());
      CHECK(dense != nullptr);
      for (std::size_t h = 0; h < heads.size(); ++h) {
        const HeadSweep& head = swept.heads[h];
        const Curve full = test::full_curve(*engine, *run.method, run.params, *inputs, heads[h]);
        CHECK(head.found.knob == full.knob[full.least(0.8).value_or(full.size() - 1)]);
        REQUIRE(head.measured);
        CHECK(head.measured->stats.density() == doctest::Approx(head.found.density).epsilon(1e-9));
        CHECK(std::abs(head.measured->recall.mean - head.found.mass_recall) < 1e-5);
        CHECK(head.front.knob == convex_front(binned(full), 0.5).knob);
        REQUIRE(head.row_curve.size() == 4);
        for (const HeadAt& point : head.row_curve) {
          CHECK(point.density == doctest::Approx(full.density[full.at(point.knob)]).epsilon(1e-9));
          CHECK(*point.mass_recall_min <= *point.mass_recall_p05);
        }
        CHECK(head.shown.has_value() == (shown != SweepRequest::Shown::nothing));
        if (shown == SweepRequest::Shown::full) CHECK(head.shown->points.knob == full.knob);
        if (shown == SweepRequest::Shown::thin) CHECK(head.shown->size() <= full.size());
        if (shown == SweepRequest::Shown::grid)
          for (std::size_t n = 0; n < 3; ++n)
            CHECK(head.shown->points.density[n] == full.density[full.at(request.grid[n])]);
      }
    }
  }
}

TEST_CASE("methods without exact curves are swept on their grid; nothing is run unless asked for") {
  const auto engine = make_cpu_engine();
  const MethodRun run = test::run_of("streaming", {{"sink", "4"}});
  const auto inputs = engine->upload(test::random_group(test::square(256, 32, 3, 1), DType::f32, 4, 3));
  std::unique_ptr<DenseReference> dense;
  const GroupSweep swept =
      sweep_group(*engine, *inputs, *run.method, run.params,
                  {.target_recall = 0.5, .grid = {16, 64, 200}, .measure = false}, heads, dense);
  CHECK(dense == nullptr);
  for (const HeadSweep& head : swept.heads) {
    CHECK(!head.measured);
    CHECK(!head.shown);
    CHECK(head.steps.points.knob == std::vector<double>{16, 64, 200});
    const std::size_t at = head.steps.at(head.found.knob);
    CHECK(head.found.density == head.steps.points.density[at]);
    for (std::size_t n = 0; n < at; ++n) CHECK(head.steps.points.mass_recall[n] < 0.5);
  }
}

TEST_CASE("measured heads have knobs and parameters of their own, whoever is planned beside them") {
  const auto engine = make_cpu_engine();
  const MethodRun run = test::run_of("stripes", {{"block", "16"}});
  const auto inputs = engine->upload(test::random_group(test::square(256, 32, 4, 1), DType::f32, 4, 3));
  const auto dense = engine->dense_reference(*inputs);
  Params rows = run.params, pooled = run.params;
  set_param(*run.method, rows, "score", "rows");
  const std::vector<int> some{3, 0};
  const auto together = measure_heads(*engine, *inputs, *run.method, run.params, some,
                                      std::vector<double>{4, 6}, *dense, std::vector<Params>{rows, pooled});
  const auto alone = [&](int head, double knob, const Params& params) {
    return measure_heads(*engine, *inputs, *run.method, params, std::vector<int>{head},
                         std::vector<double>{knob}, *dense)[0];
  };
  const HeadReplay first = alone(3, 4, rows), second = alone(0, 6, pooled);
  CHECK(together[0].stats.density() == first.stats.density());
  CHECK(together[0].difference.relative_l2() == first.difference.relative_l2());
  CHECK(together[1].stats.density() == second.stats.density());
  CHECK(together[1].recall.min == second.recall.min);
}
