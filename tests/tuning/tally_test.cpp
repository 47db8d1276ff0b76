#include "anchor/tuning/tally.hpp"

#include <doctest/doctest.h>

using namespace anchor;

TEST_CASE("a tally sums what heads keep and names the worst of each kind") {
  Tally tally;
  CHECK(!tally.measured());
  tally.add({.layer = 0, .head = 1, .at = {.density = 0.2, .mass_recall = 0.96}}, 0.95);
  CHECK(!tally.measured());
  tally.add({.layer = 0,
             .head = 2,
             .at = {.density = 0.4, .mass_recall = 0.9, .out_rel_l2 = 0.1, .mass_recall_p05 = 0.5}},
            0.95);
  tally.add({.layer = 3,
             .head = 0,
             .at = {.density = 0.3, .mass_recall = 0.95, .out_rel_l2 = 0.3, .mass_recall_p05 = 0.6}},
            0.95);
  CHECK(tally.measured());
  CHECK(tally.heads == 3);
  CHECK(tally.reach == 2);
  CHECK(tally.density == doctest::Approx(0.9));
  CHECK(tally.mass_recall == doctest::Approx(2.81));
  CHECK(tally.worst == 0.9);
  CHECK(tally.worst_head == "0:2");
  CHECK(tally.error == doctest::Approx(0.4));
  CHECK(tally.worst_error_head == "3:0");
  CHECK(tally.worst_p05 == 0.5);
  CHECK(tally.worst_p05_head == "0:2");
}
