#include "anchor/tuning/bounded_error.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "anchor/engine/cpu_engine.hpp"
#include "anchor/tuning/head_sweep.hpp"
#include "support/kv_group.hpp"

using namespace anchor;

TEST_CASE("heads keep the recall that their output error needs, and hardly more") {
  const auto engine = make_cpu_engine();
  const Method& method = find_method("stripes");
  Params params = default_params(method);
  params.set("block", 16.);
  const auto inputs = engine->upload(test::random_group(test::square(400, 32, 4, 1), DType::f32, 3, 3));
  const auto dense = engine->dense_reference(*inputs);
  const std::vector<int> heads{0, 2, 3};
  const auto curves = knob_curves(*engine, *inputs, method, params, {}, heads);
  const auto errors_at = [&](const std::vector<double>& recalls) {
    std::vector<double> knobs, errors;
    for (std::size_t h = 0; h < heads.size(); ++h)
      knobs.push_back(curves[h].points.knob[*curves[h].least(recalls[h])]);
    for (const HeadReplay& head : measure_heads(*engine, *inputs, method, params, heads, knobs, *dense))
      errors.push_back(head.difference.relative_l2());
    return errors;
  };
  const auto search = [&](double bound) {
    return recall_for_error(*engine, *inputs, method, params, heads, curves, *dense, 0.7, bound);
  };
  CHECK(search(10) == std::vector<double>(3, 0.7));  // good as they are
  for (const double bound : {0.1, 0.03}) {
    const std::vector<double> found = search(bound);
    std::vector<double> sparser;  // recalls of plans with a little less density
    for (std::size_t h = 0; h < heads.size(); ++h) {
      const Curve& curve = curves[h].points;
      const double density = curve.density[*curves[h].least(found[h])] - 0.006;
      const auto at = std::lower_bound(curve.density.begin(), curve.density.end(), density);
      sparser.push_back(curve.mass_recall[std::size_t(at - curve.density.begin())]);
    }
    const std::vector<double> errors = errors_at(found), worse = errors_at(sparser);
    for (std::size_t h = 0; h < heads.size(); ++h) {
      CHECK(found[h] > 0.7);
      CHECK(errors[h] <= bound);
      CHECK((errors[h] > 0.95 * bound || worse[h] > bound));
    }
  }
  for (const double recall : search(1e-9))
    CHECK(recall == doctest::Approx(1).epsilon(1e-6));  // out of reach: everything
}
