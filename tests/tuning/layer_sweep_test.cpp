#include "anchor/tuning/layer_sweep.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/engine/cpu_engine.hpp"
#include "support/curve.hpp"
#include "support/kv_group.hpp"
#include "support/params.hpp"

using namespace anchor;

TEST_CASE("the run with the least density at the target wins; if none is there, the one that keeps most") {
  const std::vector<CurvePoint> found{{1, 0.5, 0.96}, {2, 0.3, 0.95}, {3, 0.2, 0.9}, {4, 0.3, 0.97}};
  CHECK(best_run(found, 0.95) == 1);  // the first of equals
  CHECK(best_run(found, 0.96) == 3);
  CHECK(best_run(found, 0.8) == 2);
  CHECK(best_run(found, 0.99) == 3);
}

TEST_CASE("a layer's mean curve is the mean over its heads, in whatever order its groups are swept") {
  const auto engine = make_cpu_engine();
  const std::vector<MethodRun> runs{test::run_of("anchor", {{"block", "16"}, {"step", "2"}}),
                                    test::run_of("streaming", {{"sink", "4"}})};
  std::vector<std::unique_ptr<Inputs>> groups;
  for (unsigned n = 0; n < 3; ++n)
    groups.push_back(engine->upload(test::random_group(test::square(250, 16, 2, 1), DType::f32, n + 1, 3)));
  const SweepRequest request{.target_recall = 0.7, .grid = {16, 64, 128}, .measure = false};
  LayerSweep layer(request, runs, 6);
  const std::vector<int> heads{0, 1};
  for (const std::size_t n : {2, 0, 1}) {
    const auto swept = layer.sweep(*engine, *groups[n], heads, 2 * n);
    REQUIRE(swept.size() == 2);
    CHECK(swept[0].heads.size() == 2);
  }
  for (std::size_t n = 0; n < 3; ++n) layer.add_to_means(2 * n, 2);

  std::vector<Curve> curves;
  std::vector<KnobCurve> grids;
  for (const auto& inputs : groups) {
    for (const int head : heads)
      curves.push_back(test::full_curve(*engine, *runs[0].method, runs[0].params, *inputs, head));
    for (KnobCurve& curve :
         knob_curves(*engine, *inputs, *runs[1].method, runs[1].params, request.grid, heads))
      grids.push_back(std::move(curve));
  }
  const auto exact = layer.mean(0), grid = layer.mean(1);
  REQUIRE(exact);
  REQUIRE(grid);
  const Curve mean = mean_curve(curves);
  for (const double knob : {-2., 0., 1., 2., 4., 8., 30.}) {  // binned and thinned
    CHECK(std::abs(exact->points.density[exact->at(knob)] - mean.density[mean.at(knob)]) < 2e-3);
    CHECK(std::abs(exact->points.mass_recall[exact->at(knob)] - mean.mass_recall[mean.at(knob)]) < 2e-3);
  }
  CHECK(grid->points.knob == request.grid);
  CHECK(grid->points.density == mean_curve(grids).points.density);
}

TEST_CASE("there is no mean where a head is missing") {
  const std::vector<MethodRun> runs{test::run_of("anchor", {{"block", "16"}})};
  const SweepRequest request{.measure = false};
  const auto engine = make_cpu_engine();
  const auto inputs = engine->upload(test::random_group(test::square(100, 16, 2, 1), DType::f32, 1, 3));
  LayerSweep layer(request, runs, 4);
  layer.sweep(*engine, *inputs, std::vector<int>{0, 1}, 0);
  layer.add_to_means(0, 2);
  CHECK(layer.mean(0));
  layer.add_to_means(2, 2);  // the sweep of this group failed
  CHECK(!layer.mean(0));
}
