#include "anchor/tuning/head_at.hpp"

#include <doctest/doctest.h>

using namespace anchor;

TEST_CASE("a target's loss and limit: recall with room for the rounding of sums, output error without") {
  const HeadAt point{.knob = 1, .density = 0.2, .mass_recall = 0.9, .out_rel_l2 = 0.04};
  const Target recall{"mass_recall", "mean", 0.9}, error{"out_rel_l2", "mean", 0.04};
  CHECK(loss(recall, point) == doctest::Approx(0.1));
  CHECK(loss(recall, point) <= limit(recall));
  CHECK(limit(recall) < 0.1 + 1e-4);
  CHECK(loss(error, point) == 0.04);
  CHECK(limit(error) == 0.04);
}

TEST_CASE("a point of a curve says what curves know, one of a plan all that it measured") {
  const HeadAt curve = HeadAt::of(CurvePoint{3, 0.25, 0.75});
  CHECK(curve.knob == 3);
  CHECK(curve.mass_recall == 0.75);
  CHECK(!curve.out_rel_l2);
  HeadReplay run;
  run.recall = {0.8, 0.6, 0.1};
  const std::vector<float> sparse{1, 2}, dense{1, 1};
  run.difference.add(sparse, dense);
  const HeadAt plan = HeadAt::of(5, run);
  CHECK(plan.knob == 5);
  CHECK(plan.mass_recall == 0.8);
  CHECK(*plan.mass_recall_p05 == 0.6);
  CHECK(*plan.mass_recall_min == 0.1);
  CHECK(*plan.out_rel_l2 == doctest::Approx(std::sqrt(0.5)));
}

TEST_CASE("the logarithm of a loss ends where losses are rounding") {
  CHECK(log_loss(0.5) == doctest::Approx(std::log(0.5)));
  CHECK(log_loss(0) == log_loss(1e-9));
  CHECK(log_loss(-1) == log_loss(0));
}
