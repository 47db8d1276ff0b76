#include "anchor/tuning/head_variant.hpp"

#include <doctest/doctest.h>

#include <set>

#include "anchor/base/error.hpp"
#include "support/params.hpp"

using namespace anchor;

TEST_CASE("a choice is a name, values, and what each of them costs") {
  const ParamChoice choice = parse_param_choice("score=pooled,rows@0.05", "--choose");
  CHECK(choice.name == "score");
  REQUIRE(choice.values.size() == 2);
  CHECK(choice.values[0].text == "pooled");
  CHECK(choice.values[0].cost == 0);
  CHECK(choice.values[1].text == "rows");
  CHECK(choice.values[1].cost == 0.05);
  for (const char* broken : {"score", "score=rows@x", "score=rows@-1", "score=rows,"})
    CHECK_THROWS_WITH_AS(parse_param_choice(broken, "--choose"), doctest::Contains("--choose"), Error);
}

TEST_CASE("variants are all combinations of values, each with the sum of their costs") {
  const MethodRun run = test::run_of("stripes", {{"block", "16"}});
  const auto alone = head_variants(run, {});
  REQUIRE(alone.size() == 1);
  CHECK(alone[0].params.values() == run.params.values());
  CHECK(alone[0].choice.empty());

  const std::vector<ParamChoice> choices{{"score", {{"pooled", 0}, {"rows", 0.05}}},
                                         {"window", {{"0", 0}, {"16", 0.01}, {"32", 0.02}}}};
  const auto variants = head_variants(run, choices);
  CHECK(variants.size() == 6);
  std::set<std::pair<std::string, double>> seen;
  for (const HeadVariant& variant : variants) {
    const std::string score = variant.params.choice("score");
    const double window = variant.params.real("window");
    seen.insert({score, window});
    CHECK(variant.cost == doctest::Approx((score == "rows" ? 0.05 : 0) + window / 1600));
    CHECK(variant.choice == ScalarMap{{"score", score}, {"window", window}});
    CHECK(variant.params.integer("block") == 16);
  }
  CHECK(seen.size() == 6);
}

TEST_CASE("what cannot be chosen head by head is refused") {
  const auto refuse = [](const char* method, std::vector<ParamChoice> choices, const char* word) {
    CHECK_THROWS_WITH_AS(head_variants(test::run_of(method), choices), doctest::Contains(word), Error);
  };
  refuse("anchor", {{"score", {{"rows", 0}}}}, "no such parameter of single heads");
  refuse("stripes", {{"block", {{"16", 0}}}}, "no such parameter of single heads");
  refuse("stripes", {{"score", {{"rows", 0}}}, {"score", {{"pooled", 0}}}}, "chosen twice");
  refuse("stripes", {{"score", {{"best", 0}}}}, "stripes.score = best");
}
