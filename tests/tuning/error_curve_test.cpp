#include "anchor/tuning/error_curve.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace anchor;

namespace {

HeadAt run_at(double knob, double recall, double error) {
  HeadAt run{.knob = knob, .mass_recall = recall};
  run.out_rel_l2 = error;
  return run;
}

}  // namespace

TEST_CASE("the error of a knob is that of its run, or follows a power law of the lost recall between two") {
  KnobCurve curve;
  for (const CurvePoint& point :
       {CurvePoint{-INFINITY, 0.1, 0.5}, {1, 0.2, 0.6}, {2, 0.3, 0.75}, {3, 0.4, 0.9}, {4, 1, 1}})
    curve.points.push(point);
  // Between 0.5 and 0.1 of lost recall the error is its square; the last run errs by nothing.
  const ErrorCurve found(curve, {run_at(-INFINITY, 0.5, 0.25), run_at(3, 0.9, 0.01), run_at(4, 1, 0)});
  CHECK(found.error(-INFINITY) == doctest::Approx(0.25));
  CHECK(found.error(-3) == doctest::Approx(0.25));  // before the first step nothing changes
  CHECK(found.error(1) == doctest::Approx(0.16));
  CHECK(found.error(2.5) == doctest::Approx(0.0625));
  CHECK(found.error(3) == doctest::Approx(0.01));
  CHECK(found.error(4) < 1e-5);
  CHECK(found.density(2.5) == 0.3);

  const ErrorCurve short_of_all(curve, {run_at(1, 0.6, 0.16), run_at(2, 0.75, 0.0625)});
  CHECK(short_of_all.error(-INFINITY) == doctest::Approx(0.16));
  CHECK(short_of_all.error(4) == doctest::Approx(0.0625));
}
