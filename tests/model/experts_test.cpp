#include "anchor/model/experts.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace anchor;

TEST_CASE("every row visits its largest experts, weighed by their softmax") {
  const std::vector<float> logits{0, 1, 2,  3,   //
                                  5, 5, -1, -1,  //
                                  0, 0, 0,  0};
  for (const bool normalised : {false, true}) {
    CAPTURE(normalised);
    const Routing routing = route(3, 4, 2, normalised, logits);
    std::vector<std::vector<double>> weights(3, std::vector<double>(4, 0));
    for (std::size_t expert = 0; expert < 4; ++expert) {
      for (const auto& visit : routing.of_expert[expert])
        weights[static_cast<std::size_t>(visit.row)][expert] = static_cast<double>(visit.weight);
    }
    const double whole = 1 + std::exp(1.) + std::exp(2.) + std::exp(3.);
    const double chosen = normalised ? std::exp(2.) + std::exp(3.) : whole;
    CHECK(weights[0][3] == doctest::Approx(std::exp(3.) / chosen));
    CHECK(weights[0][2] == doctest::Approx(std::exp(2.) / chosen));
    CHECK(weights[0][0] + weights[0][1] == 0);
    CHECK(weights[1][0] == doctest::Approx(weights[1][1]));
    CHECK(weights[1][2] == 0);
    CHECK(weights[2][0] == doctest::Approx(normalised ? 0.5 : 0.25));  // of equals, the first ones
    CHECK(weights[2][1] == doctest::Approx(normalised ? 0.5 : 0.25));
    CHECK(weights[2][2] + weights[2][3] == 0);
  }
}

TEST_CASE("all experts together have weight 1, and large logits do not overflow") {
  const Routing routing = route(1, 3, 3, false, std::vector<float>{1000, 1001, 999});
  double sum = 0;
  for (const auto& visits : routing.of_expert) sum += static_cast<double>(visits.at(0).weight);
  CHECK(sum == doctest::Approx(1));
}
