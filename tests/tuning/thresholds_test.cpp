#include "anchor/tuning/thresholds.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "anchor/base/error.hpp"
#include "support/params.hpp"
#include "support/temp_file.hpp"

using namespace anchor;
using test::TempFile;

TEST_CASE("thresholds survive the trip through their file") {
  Thresholds made;
  made.method = "anchor";
  made.knob = "theta";
  made.params = {{"step", 4.0}, {"mode", std::string("clean")}};
  made.calibrated_on = {"a.h5", "b.h5"};
  made.target.value = 0.9;
  const double third = static_cast<double>(1.0f / 3);
  made.layers.push_back({5, {0, 2}, {third, -HUGE_VAL}, {0.95, 1}, {0.2, 0.1}});
  const TempFile file("anchor_thresholds_test.json");
  file.write(thresholds_text(made));
  const Thresholds read = read_thresholds(file.path);
  CHECK(read.params == made.params);
  CHECK(read.calibrated_on == made.calibrated_on);
  CHECK(read.target.value == 0.9);
  const Method& method = find_method(read.method);
  const auto applied = [&](int layer, std::vector<int> heads) {
    PlanRequest request{default_params(method), {}};
    read.apply(method, layer, heads, file.path, request);
    return request;
  };
  CHECK(applied(5, {0, 2}).knobs == std::vector<double>{third, -HUGE_VAL});
  CHECK(applied(5, {-1}).knobs == std::vector<double>{default_params(method).real(read.knob)});
  CHECK(applied(5, {0}).head_params.empty());
  CHECK_THROWS_WITH_AS(applied(5, {1}), doctest::Contains("layer 5 head 1"), Error);
  CHECK_THROWS_WITH_AS(applied(6, {0}), doctest::Contains("layer 6"), Error);
}

TEST_CASE("heads may have parameters of their own: format 1.1") {
  Thresholds made;
  made.method = "stripes";
  made.knob = "theta";
  made.layers.push_back({0, {0, 1}, {3, 4}, {1, 1}, {0.2, 0.1}});
  const TempFile file("anchor_thresholds_heads.json");
  file.write(thresholds_text(made));
  CHECK(file.read().find("\"1.0\"") != std::string::npos);
  made.layers[0].params["score"] = {std::string("pooled"), std::string("rows")};
  made.layers[0].params["window"] = {128., 0.};
  file.write(thresholds_text(made));
  CHECK(file.read().find("\"1.1\"") != std::string::npos);
  const Thresholds read = read_thresholds(file.path);
  const Method& method = find_method("stripes");
  PlanRequest request{default_params(method), {}};
  read.apply(method, 0, std::vector<int>{1, -1, 0}, file.path, request);
  CHECK(request.of(0).choice("score") == "rows");
  CHECK(request.of(1).choice("score") == "pooled");
  CHECK(request.of(2).choice("score") == "pooled");
  CHECK(request.of(0).integer("window") == 0);
  CHECK(request.of(2).integer("window") == 128);
  CHECK(request.knobs == std::vector<double>{4, default_params(method).real("theta"), 3});

  const auto refused = [&](std::map<std::string, std::vector<Scalar>> params, const char* message) {
    made.layers[0].params = std::move(params);
    file.write(thresholds_text(made));
    CHECK_THROWS_WITH_AS(read_thresholds(file.path), doctest::Contains(message), Error);
  };
  refused({{"block", {64., 128.}}},
          "\"layers[0].params.block\" is no parameter that stripes has for single heads");
  refused({{"score", {std::string("best"), std::string("rows")}}}, "stripes.score = best");
  refused({{"score", {std::string("rows")}}}, "lists 1 values for 2 heads");
}

TEST_CASE("a broken thresholds file says what is wrong with it") {
  const TempFile file("anchor_thresholds_broken.json");
  const std::string start = R"({"format":"anchor-thresholds","format_version":)";
  const std::pair<std::string, const char*> broken[] = {
      {"not json", "not a thresholds file"},
      {"[1]", "not a thresholds file"},
      {R"({"format":"other"})", "not a thresholds file"},
      {start + R"("2.0"})", "format_version 2.0"},
      {start + R"("1.0"})", "\"method\""},
      {start +
           R"("1.0","method":"anchor","knob":"theta","params":{},"layers":[{"layer":0,"heads":[0,1],"value":[1]}]})",
       "field \"layers[0].value\" lists 1 values for 2 heads"},
      {start +
           R"("1.0","method":"anchor","knob":"theta","params":{},"layers":[{"layer":0,"heads":[0],"value":["x"]}]})",
       "field \"layers[0].value\" is not a number"},
  };
  for (const auto& [text, message] : broken) {
    CAPTURE(text);
    file.write(text);
    CHECK_THROWS_WITH_AS(read_thresholds(file.path), doctest::Contains(message), Error);
  }
}

TEST_CASE("thresholds are made from chosen heads, layer by layer, with the run's other parameters") {
  const MethodRun run = test::run_of("stripes", {{"block", "16"}});
  std::vector<ChosenHead> heads;
  for (const auto& [layer, head] : {std::pair{4, 0}, {4, 2}, {1, 5}})
    heads.push_back({.layer = layer,
                     .head = head,
                     .at = {.knob = head + 0.5, .density = 0.1, .mass_recall = 0.9},
                     .params = {{"window", 8. * head}}});
  const Thresholds made = make_thresholds(run, "a model", {"mass_recall", "mean", 0.9}, {"a.h5"}, heads);
  CHECK(made.method == "stripes");
  CHECK(made.knob == run.method->knob);
  CHECK(!made.params.contains(made.knob));
  CHECK(made.params.at("block") == Scalar(16.));
  CHECK(made.model == "a model");
  CHECK(made.target.value == 0.9);
  CHECK(made.calibrated_on == std::vector<std::string>{"a.h5"});
  REQUIRE(made.layers.size() == 2);
  CHECK(made.layers[0].layer == 1);
  CHECK(made.layers[1].heads == std::vector<int>{0, 2});
  CHECK(made.layers[1].value == std::vector<double>{0.5, 2.5});
  CHECK(made.layers[1].params.at("window") == std::vector<Scalar>{0., 16.});
  CHECK(made.layers[0].mass_recall == std::vector<double>{0.9});
}

TEST_CASE("a check names the head, layer or parameter that a method cannot be given") {
  Thresholds made;
  made.method = "stripes";
  made.knob = "theta";
  made.layers.push_back({3, {0, 1}, {1, 2}, {}, {}});
  const Method& stripes = find_method("stripes");
  CHECK_NOTHROW(made.check(stripes, 3, {}, std::vector<int>{1, 0}, "t.json"));
  CHECK_THROWS_WITH_AS(made.check(stripes, 3, {}, std::vector<int>{2}, "t.json"),
                       doctest::Contains("t.json: has no threshold for layer 3 head 2"), Error);
  CHECK_THROWS_WITH_AS(made.check(stripes, 4, {}, std::vector<int>{0}, "t.json"),
                       doctest::Contains("layer 4"), Error);
  made.layers[0].params["block"] = {16., 16.};
  CHECK_THROWS_WITH_AS(made.check(stripes, 3, {}, std::vector<int>{0}, "t.json"),
                       doctest::Contains("\"block\""), Error);
}

TEST_CASE("the knob's own specification checks every value that a file gives a head") {
  const auto apply = [](const char* name, double value) {
    const Method& method = find_method(name);
    Thresholds given;
    given.method = name;
    given.knob = method.knob;
    given.layers = {{.layer = 0, .heads = {0}, .value = {value}, .mass_recall = {}, .density = {}}};
    PlanRequest request{default_params(method), {}};
    const int asked[] = {0};
    given.apply(method, 0, asked, "T.json", request);
    return request.knobs[0];
  };
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK(apply("anchor", infinity) == infinity);
  CHECK(apply("anchor", -infinity) == -infinity);
  CHECK(apply("xattention", -infinity) == -infinity);  // what is always kept suffices
  for (const auto& [name, value] : {std::pair{"vertical-slash", infinity},
                                    {"vertical-slash", -infinity},
                                    {"vertical-slash", 0.5},
                                    {"vertical-slash", 0.},
                                    {"streaming", 1e300},
                                    {"flexprefill", 7.},
                                    {"anchor", std::nan("")}}) {
    CAPTURE(name);
    CAPTURE(value);
    CHECK_THROWS_WITH_AS(apply(name, value), doctest::Contains("T.json: layer 0 head 0"), Error);
  }
}
