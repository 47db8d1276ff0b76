#include "anchor/tuning/knob_curve.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "anchor/tuning/head_sweep.hpp"
#include "support/kv_group.hpp"
#include "support/params.hpp"

using namespace anchor;

namespace {

KnobCurve grid_curve(std::initializer_list<CurvePoint> points) {
  KnobCurve curve{{}, false};
  for (const CurvePoint& point : points) curve.points.push(point);
  return curve;
}

}  // namespace

TEST_CASE("a grid's point of least density is found in any order, and only its own values have points") {
  const KnobCurve curve = grid_curve({{1, 0.5, 0.9}, {2, 0.3, 0.8}, {3, 0.4, 0.95}, {4, 0.9, 0.97}});
  CHECK(curve.least(0.8) == 1);
  CHECK(curve.least(0.9) == 2);
  CHECK(!curve.least(0.98));
  CHECK(curve.densest() == 3);
  CHECK(curve.reach(0.9) == 2);
  CHECK(curve.reach(0.98) == 3);
  CHECK(curve.at(3) == 2);
  CHECK_THROWS_WITH_AS(curve.at(2.5), doctest::Contains("no point at 2.5"), Error);
}

TEST_CASE("means weigh their curves: grids by value, exact curves at every knob") {
  const KnobCurve a = grid_curve({{1, 0.2, 0.5}, {2, 0.4, 0.7}}),
                  b = grid_curve({{2, 0.8, 0.9}, {1, 0.6, 0.7}});
  const std::vector<KnobCurve> both{a, b};
  const std::vector<double> weights{3, 1};
  const KnobCurve mean = mean_curve(both, weights);
  CHECK(mean.points.knob == std::vector<double>{1, 2});
  CHECK(mean.points.density[0] == doctest::Approx(0.3));
  CHECK(mean.points.mass_recall[1] == doctest::Approx(0.75));

  KnobCurve steps, more;
  for (const CurvePoint& point : {CurvePoint{-INFINITY, 0.1, 0.2}, {1, 0.3, 0.6}}) steps.points.push(point);
  for (const CurvePoint& point : {CurvePoint{-INFINITY, 0.2, 0.4}, {2, 0.5, 0.8}}) more.points.push(point);
  const KnobCurve exact = mean_curve(std::vector<KnobCurve>{steps, more});
  CHECK(exact.exact);
  CHECK(exact.points.density[exact.at(0)] == doctest::Approx(0.15));
  CHECK(exact.points.density[exact.at(1.5)] == doctest::Approx(0.25));
  CHECK(exact.points.mass_recall[exact.at(7)] == doctest::Approx(0.7));
}

TEST_CASE("every point of a head's curve is what the plan at its knob keeps, for every method with a knob") {
  const auto engine = make_cpu_engine();
  const auto inputs = engine->upload(test::random_group(test::square(300, 32, 3, 1), DType::f32, 4, 3));
  const auto dense = engine->dense_reference(*inputs);
  const std::vector<int> heads{0, 2};
  const std::vector<std::pair<MethodRun, std::vector<double>>> cases{
      {test::run_of("anchor", {{"block", "16"}, {"step", "2"}}), {}},
      {test::run_of("stripes", {{"block", "16"}}), {}},
      {test::run_of("streaming", {{"sink", "4"}}), {16, 64, 256}},
      {test::run_of("flexprefill", {{"block", "16"}, {"min_budget", "16"}}), {0.5, 0.9}}};
  for (const auto& [run, grid] : cases) {
    CAPTURE(run.method->name);
    const auto curves = knob_curves(*engine, *inputs, *run.method, run.params, grid, heads);
    REQUIRE(curves.size() == heads.size());
    for (std::size_t h = 0; h < heads.size(); ++h) {
      const KnobCurve& curve = curves[h];
      CHECK(curve.exact == grid.empty());
      if (!grid.empty()) CHECK(curve.points.knob == grid);
      const std::size_t stride = std::max<std::size_t>(1, curve.size() / 5);
      for (std::size_t n = 0; n < curve.size(); n += stride) {
        const int one[] = {heads[h]};
        const double knob[] = {curve.points.knob[n]};
        const auto kept = measure_heads(*engine, *inputs, *run.method, run.params, one, knob, *dense);
        CHECK(curve.points.density[n] == doctest::Approx(kept[0].stats.density()).epsilon(1e-9));
        CHECK(std::abs(curve.points.mass_recall[n] - kept[0].recall.mean) < 1e-5);
      }
    }
  }
}

TEST_CASE("curves survive the trip through a row, ordered by density there") {
  const KnobCurve grid = grid_curve({{1, 0.5, 0.9}, {2, 0.3, 0.8}});
  const CurvePoints points = curve_points(grid);
  CHECK(points.knob == std::vector<double>{2, 1});
  CHECK(points.density == std::vector<double>{0.3, 0.5});
  CHECK(curve_of(points, false).at(1) == 1);

  KnobCurve falling{{.descending = true}, true};
  for (const CurvePoint& point : {CurvePoint{INFINITY, 0.1, 0.2}, {2, 0.3, 0.6}, {1, 0.4, 0.7}})
    falling.points.push(point);
  const KnobCurve back = curve_of(curve_points(falling), true);
  CHECK(back.points.descending);
  CHECK(back.at(1.5) == 1);
  CurvePoints one{{INFINITY}, {0.1}, {0.2}, {}, {}, {}};
  CHECK(curve_of(one, true).points.descending);
}
