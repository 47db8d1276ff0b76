#include "anchor/tuning/calibration.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "anchor/engine/devices.hpp"
#include "anchor/tuning/head_sweep.hpp"
#include "support/kv_group.hpp"

using namespace anchor;

namespace {

Geometry shape(std::int64_t length) {
  return {.q_heads = 3, .kv_heads = 1, .q_len = length, .kv_len = length, .head_dim = 32};
}

}  // namespace

TEST_CASE("every method with a published calibration ends where its rule says") {
  const auto engine = make_engine("cpu");
  for (const Method& method : methods()) {
    if (!method.calibration_floor) continue;
    CAPTURE(method.name);
    const auto inputs = engine->upload(test::random_group(shape(1400), DType::f32, 5, 3));
    const auto dense = engine->dense_reference(*inputs);
    Params params = default_params(method);
    const double start = 64 * params.real(method.knob);  // these heads have nothing else to leave out
    params.set(method.knob, start);
    const std::vector<int> heads{0, 2};
    const auto error_at = [&](int head, double knob) {
      const int one[] = {head};
      const double knobs[] = {knob};
      return row_l1(measure_heads(*engine, *inputs, method, params, one, knobs, *dense)[0].difference,
                    inputs->geometry());
    };
    const double at_start = std::max(error_at(0, start), error_at(2, start));
    REQUIRE(at_start > 0.01);
    for (const double error : {2 * at_start, 0.9 * at_start, 0.5 * at_start, 0.1 * at_start, 0.}) {
      CAPTURE(error);
      std::vector<double> knobs(2, start);
      const auto found = calibrate(*engine, *inputs, method, params, error, heads, knobs, *dense);
      for (std::size_t h = 0; h < heads.size(); ++h) {
        const double knob = knobs[h];
        if (knob == 0) {
          CHECK(found[h].stats.density() == 1);
        } else {
          CHECK(knob > *method.calibration_floor);
          const double halvings = std::log2(start / knob);
          CHECK(halvings == std::round(halvings));
          CHECK(row_l1(found[h].difference, inputs->geometry()) < error);
          CHECK(row_l1(found[h].difference, inputs->geometry()) == error_at(heads[h], knob));
        }
        double last = knob > 0 ? 2 * knob : start;  // the last knob that erred too much
        while (knob == 0 && last / 2 > *method.calibration_floor) last /= 2;
        if (knob < start) CHECK(error_at(heads[h], last) >= error);
      }
      if (error > at_start) CHECK(knobs == std::vector(2, start));
      if (error == 0) CHECK(knobs == std::vector(2, 0.));

      std::vector<double> again = knobs;  // the same prompt once more changes nothing
      calibrate(*engine, *inputs, method, params, error, heads, again, *dense);
      CHECK(again == knobs);
      const auto other = engine->upload(test::random_group(shape(1300), DType::f32, 6, 3));
      const auto other_dense = engine->dense_reference(*other);
      calibrate(*engine, *other, method, params, error, heads, again, *other_dense);
      for (std::size_t h = 0; h < heads.size(); ++h) CHECK(again[h] <= knobs[h]);
    }
  }
}

TEST_CASE("the row error is the sum over all elements, per row") {
  const std::vector<float> sparse{1, 2, 3, 4, 5, 6}, dense{1.5f, 2, 1, 4, 5, 6.25f};
  OutputDifference difference;
  difference.add(sparse, dense);
  CHECK(row_l1(difference, {.q_heads = 1, .kv_heads = 1, .q_len = 2, .kv_len = 2, .head_dim = 3}) ==
        doctest::Approx(2.75 / 2).epsilon(1e-12));
}
