#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace anchor {

/// A median and its 95 % confidence interval from order statistics: the closest pair of ranks l, n + 1 - l
/// for which P(Binomial(n, 1/2) < l) <= 2.5 %. It assumes nothing about the distribution but independent
/// samples. Fewer than six samples have no such pair: the interval is then their whole range, and `valid` is
/// false.
struct MedianInterval {
  double median = 0, low = 0, high = 0;
  bool valid = false;
};
MedianInterval median_interval(std::vector<std::int64_t> samples);

/// When a measurement has enough samples.
struct StopRule {
  double relative_width = 0.01;  ///< stop when the interval is narrower than this share of the median
  double seconds = 10;           ///< or when so much time has been spent on the contender
  int min_samples = 10;          ///< but not before (a stop rule that looks too early stops on luck)
  int max_samples = 1000;

  bool settled(std::span<const std::int64_t> samples) const;
  bool stop(std::span<const std::int64_t> samples, double seconds_spent) const;
};

/// Something to be timed: `run` does it once and returns the nanoseconds that count.
struct Contender {
  std::string name;
  std::function<std::int64_t()> run;
};

struct Measurement {
  std::vector<std::int64_t> samples_ns;  ///< all of them, in order
  bool settled = false;                  ///< the interval was narrow enough, not the time over
  std::string error;                     ///< why it could not be run; samples before that are kept
};

/// Times contenders in turns, one run of each per round, so that a drift of the clocks meets all of them
/// alike; each leaves the rounds when its stop rule is met or when it fails. Two untimed runs of each come
/// first. `now` is a clock in seconds (for tests). An interrupt is passed on.
std::vector<Measurement> measure(std::span<const Contender> contenders, const StopRule& rule,
                                 const std::function<double()>& now = {});

}  // namespace anchor
