#include "anchor/tuning/head_clusters.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace anchor;

namespace {

HeadPattern pattern(std::vector<float> mass) {
  MassMap map;
  map.block_mass = std::move(mass);
  return head_pattern(map);
}

}  // namespace

TEST_CASE(
    "a pattern's distance is 0 to itself at any scale, symmetric, and sqrt(ln 2) to what it never meets") {
  const HeadPattern a = pattern({3, 1, 0, 0}), b = pattern({1, 1, 2, 0}), c = pattern({0, 0, 1, 4});
  CHECK(pattern_distance(a, pattern({6, 2, 0, 0})) < 1e-6);
  CHECK(pattern_distance(a, b) == pattern_distance(b, a));
  CHECK(pattern_distance(a, b) < pattern_distance(a, c));
  CHECK(std::abs(pattern_distance(a, c) - std::sqrt(std::log(2.))) < 1e-6);
}

TEST_CASE("clusters join alike heads up to the cut, and 1 joins all") {
  const std::vector<HeadPattern> heads{pattern({8, 1, 1}), pattern({1, 8, 1}), pattern({8, 1.2f, 1}),
                                       pattern({1, 1, 8}), pattern({1, 8.5f, 1})};
  CHECK(cluster_heads(heads, 0.1) == std::vector<int>{0, 1, 0, 2, 1});
  CHECK(cluster_heads(heads, 0) == std::vector<int>{0, 1, 2, 3, 4});
  CHECK(cluster_heads(heads, 1) == std::vector<int>{0, 0, 0, 0, 0});
  CHECK(cluster_heads({}, 0.5).empty());
}

TEST_CASE("the mean distance decides: a head between two clusters joins the one that is nearer on average") {
  // On a line of mixtures; the third head is nearer to the first two than to the last.
  const auto mix = [](float x) { return pattern({1 - x, x}); };
  const std::vector<int> labels = cluster_heads({mix(0.1f), mix(0.12f), mix(0.3f), mix(0.9f)}, 0.25);
  CHECK(labels == std::vector<int>{0, 0, 0, 1});
}
