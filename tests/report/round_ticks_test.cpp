#include "anchor/report/round_ticks.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "anchor/report/heatmap.hpp"

using namespace anchor;

TEST_CASE("ticks are few, round, and inside") {
  CHECK(round_ticks(0.65, 1, 5) == std::vector<double>{0.7, 0.8, 0.9, 1});
  CHECK(round_ticks(0, 557, 5).size() == 3);
  CHECK(round_ticks(-1, 1, 5).size() == 5);
  CHECK(round_ticks(3, 3, 5) == std::vector<double>{3});
  for (const double low : {0., -3.7, 0.0123, 1e6}) {
    for (const double span : {0.0007, 0.35, 4., 1e5}) {
      const std::vector<double> ticks = round_ticks(low, low + span, 5);
      CHECK(ticks.size() <= 6);
      for (const double tick : ticks) {
        CHECK(tick >= low - 1e-9 * (std::abs(low) + span));
        CHECK(tick <= low + span + 1e-9 * (std::abs(low) + span));
      }
    }
  }
}

TEST_CASE("a heatmap's bar has no 0.912") {
  Heatmap map{.title = "m", .layers = {0}, .heads = {0, 1}, .values = {0.66, 0.99}};
  map.scale_to_share();
  const std::string svg = svg_heatmap(map);
  for (const char* tick : {">0.7<", ">0.8<", ">0.9<", ">1<"}) CHECK(svg.find(tick) != std::string::npos);
  CHECK(svg.find("0.912") == std::string::npos);
}
