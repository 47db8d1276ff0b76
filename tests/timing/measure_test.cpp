#include "anchor/timing/measure.hpp"

#include <doctest/doctest.h>

#include <random>

#include "anchor/base/error.hpp"

using namespace anchor;

TEST_CASE("the interval's ranks are those of the binomial table, whatever the order of the samples") {
  struct Known {
    int n, low, high;  // one-based ranks of the 95 % interval of a median (Conover, table A3)
  };
  for (const auto [n, low, high] :
       {Known{6, 1, 6}, {9, 2, 8}, {10, 2, 9}, {20, 6, 15}, {30, 10, 21}, {50, 18, 33}, {100, 40, 61}}) {
    std::vector<std::int64_t> samples;
    for (int i = 1; i <= n; ++i) samples.push_back(i);
    std::shuffle(samples.begin(), samples.end(), std::mt19937(7));
    const MedianInterval interval = median_interval(samples);
    CAPTURE(n);
    CHECK(interval.valid);
    CHECK(interval.low == low);
    CHECK(interval.high == high);
    CHECK(interval.median == (n + 1) / 2.);
  }
}

TEST_CASE("five samples have no 95 % interval: their range, marked as such") {
  const MedianInterval interval = median_interval({5, 1, 3, 2, 4});
  CHECK_FALSE(interval.valid);
  CHECK(interval.low == 1);
  CHECK(interval.median == 3);
  CHECK(interval.high == 5);
}

TEST_CASE("the interval covers the true median about 95 % of the time for a skewed distribution") {
  std::mt19937 random(3);
  std::exponential_distribution<double> skewed;
  const double true_median = std::log(2.) * 1e6;
  for (const int n : {12, 40}) {
    int covered = 0;
    for (int trial = 0; trial < 4000; ++trial) {
      std::vector<std::int64_t> samples;
      for (int i = 0; i < n; ++i) samples.push_back(static_cast<std::int64_t>(skewed(random) * 1e6));
      const MedianInterval interval = median_interval(samples);
      covered += interval.low <= true_median && true_median <= interval.high;
    }
    CHECK(covered >= 0.94 * 4000);  // at least 95 %, less three standard deviations of the trials
  }
}

TEST_CASE("steady samples stop at the least number, scattered ones at the time limit, all samples kept") {
  double time = 0;
  int runs = 0;
  const std::vector<Contender> contenders{{"steady",
                                           [&] {
                                             time += 0.125;
                                             return std::int64_t{1000};
                                           }},
                                          {"scattered", [&] {
                                             time += 0.125;
                                             return std::int64_t{1000} + 200 * (++runs % 7);
                                           }}};
  const StopRule rule{.relative_width = 0.01, .seconds = 5, .min_samples = 10};
  const auto results = measure(contenders, rule, [&] { return time; });
  CHECK(results[0].samples_ns.size() == 10);
  CHECK(results[0].settled);
  CHECK(results[1].samples_ns.size() == 40);
  CHECK_FALSE(results[1].settled);
}

TEST_CASE("contenders take turns after two untimed runs each") {
  std::string order;
  const std::vector<Contender> contenders{{"a",
                                           [&] {
                                             order += 'a';
                                             return std::int64_t{1};
                                           }},
                                          {"b", [&] {
                                             order += 'b';
                                             return std::int64_t{1};
                                           }}};
  measure(contenders, {.min_samples = 3, .max_samples = 3});
  CHECK(order ==
        "aabb"
        "ababab");
}

TEST_CASE("a contender that fails keeps its samples and its reason, and the others go on") {
  int runs = 0;
  const std::vector<Contender> contenders{{"breaks",
                                           [&]() -> std::int64_t {
                                             if (++runs == 5) fail("out of device memory");
                                             return 7;
                                           }},
                                          {"works", [] { return std::int64_t{1}; }}};
  const auto results = measure(contenders, {.min_samples = 8, .max_samples = 8});
  CHECK(results[0].error == "out of device memory");
  CHECK(results[0].samples_ns == std::vector<std::int64_t>{7, 7});
  CHECK(results[1].error.empty());
  CHECK(results[1].samples_ns.size() == 8);
}
