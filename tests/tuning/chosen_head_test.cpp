#include "anchor/tuning/chosen_head.hpp"

#include <doctest/doctest.h>

using namespace anchor;

TEST_CASE("a row's head has its knob and what it keeps; fields that the row lacks stay empty") {
  ResultRow row;
  row.layer = 3;
  row.head = 5;
  row.value = 7.5;
  row.density = 0.25;
  row.mass_recall = 0.9;
  const ChosenHead bare = ChosenHead::of(row);
  CHECK(bare.layer == 3);
  CHECK(bare.head == 5);
  CHECK(bare.at.knob == 7.5);
  CHECK(!bare.at.out_rel_l2);
  row.out_rel_l2 = 0.1;
  row.mass_recall_p05 = 0.7;
  CHECK(*ChosenHead::of(row).at.out_rel_l2 == 0.1);
  CHECK(*ChosenHead::of(row).at.mass_recall_p05 == 0.7);
}

TEST_CASE("means are over heads or texts, and heads below a recall are counted") {
  std::vector<ChosenHead> heads;
  for (const double recall : {0.9, 0.95, 1.})
    heads.push_back({.layer = 1,
                     .head = 2,
                     .at = {.knob = 4, .density = recall / 2, .mass_recall = recall},
                     .params = {{"window", 16.}}});
  CHECK(chosen_means(heads).density == doctest::Approx(0.475));
  CHECK(chosen_means(heads).mass_recall == doctest::Approx(0.95));
  CHECK(heads_below(heads, 0.95) == 1);
  CHECK(heads_below(heads, 0.9) == 0);
  const ChosenHead mean = mean_over_texts(heads);
  CHECK(mean.layer == 1);
  CHECK(mean.head == 2);
  CHECK(mean.at.knob == 4);
  CHECK(mean.at.mass_recall == doctest::Approx(0.95));
  CHECK(mean.params == heads[0].params);
  CHECK(chosen_means({}).density == 0);
}
