#include "anchor/rows/target.hpp"

#include <doctest/doctest.h>

#include "anchor/base/error.hpp"

using namespace anchor;

TEST_CASE("a target is a known metric and what dense attention could still miss") {
  const Target recall = parse_target("mass_recall=0.95", "--match", {"mass_recall", "out_rel_l2"});
  CHECK(recall.metric == "mass_recall");
  CHECK(recall.statistic == "mean");
  CHECK(recall.value == 0.95);
  CHECK(parse_target("out_rel_l2=1e-3", "--match", {"mass_recall", "out_rel_l2"}).value == 1e-3);
}

TEST_CASE("what is no target is a usage error that names the flag") {
  const auto refused = [](const char* text, const char* why) {
    CAPTURE(text);
    try {
      parse_target(text, "--goal", {"mass_recall", "out_rel_l2"});
      FAIL("was taken");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
      const std::string message = error.what();
      CHECK(message.find("--goal") == 0);
      CHECK(message.find(why) != std::string::npos);
    }
  };
  for (const char* text : {"", "mass_recall", "mass_recall=", "mass_recall=much", "0.9"})
    refused(text, "METRIC=VALUE");
  for (const char* text : {"density=0.5", "=0.5", "mass recall=0.5"}) refused(text, "the metric is");
  for (const char* text : {"mass_recall=0", "mass_recall=1", "out_rel_l2=-0.1", "mass_recall=inf"})
    refused(text, "between 0 and 1");
}
