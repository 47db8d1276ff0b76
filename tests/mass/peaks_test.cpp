#include "anchor/mass/peaks.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "anchor/attention/reference.hpp"
#include "anchor/mass/mass_map.hpp"
#include "support/random.hpp"

using namespace anchor;
using test::random_inputs;
using test::square;

TEST_CASE("the pass over scores finds the peaks of the definition, with their weights") {
  for (const std::int64_t q_start : {0, 70}) {
    for (const std::int64_t length : {1, 127, 700}) {
      if (q_start >= length) continue;
      auto random = random_inputs(square(length, 32, 2, 1, q_start), unsigned(length), 3);
      const AttentionInputs head = random.view().head(1);
      const std::vector<Peak> found = cpu_peaks(head, cpu_lse(head)), expected = reference_peaks(head);
      REQUIRE(found.size() == expected.size());
      for (std::size_t n = 0; n < found.size(); ++n) {
        CHECK(found[n].row == expected[n].row);
        CHECK(found[n].key == expected[n].key);
        CHECK(found[n].weight == doctest::Approx(expected[n].weight).epsilon(1e-4));
      }
    }
  }
}

TEST_CASE("peaks are exactly the pairs whose weight is large, at most 16 a row") {
  const auto random = random_inputs(square(300, 16), 5, 3);
  const AttentionInputs head = random.view();
  const AttentionResult dense = reference_attention(head);
  const std::vector<Peak> found = cpu_peaks(head, dense.lse);
  std::vector<int> of_row(300);
  for (const Peak& peak : found) ++of_row[static_cast<std::size_t>(peak.row)];
  std::size_t expected = 0;
  for (std::int64_t i = 0; i < 300; ++i) {
    CHECK(of_row[static_cast<std::size_t>(i)] <= 16);
    for (std::int64_t j = 0; j <= i; ++j) {
      double dot = 0;
      for (int c = 0; c < 16; ++c) dot += double{head.q_row(0, i)[c]} * double{head.k[j * 16 + c]};
      expected +=
          std::exp(dot * head.geometry.softmax_scale - dense.lse[static_cast<std::size_t>(i)]) >= 0.0625;
    }
  }
  CHECK(found.size() == expected);
  CHECK(found.size() > 300);
}

TEST_CASE("keys that no query sees are not looked at, and scores far from zero keep their weights") {
  auto random = random_inputs(square(200, 16), 6, 3);
  for (std::int64_t j = 0; j < 200; ++j) random.k[static_cast<std::size_t>(j * 16)] = 4000;
  for (std::int64_t i = 0; i < 200; ++i) random.q[static_cast<std::size_t>(i * 16)] = 4000;
  const AttentionInputs head = random.view();
  const std::vector<Peak> found = cpu_peaks(head, cpu_lse(head)), expected = reference_peaks(head);
  REQUIRE(found.size() == expected.size());
  for (std::size_t n = 0; n < found.size(); ++n) {
    CHECK(found[n].key == expected[n].key);
    CHECK(found[n].weight == doctest::Approx(expected[n].weight).epsilon(1e-3));
  }
}
