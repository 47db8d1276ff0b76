#include "anchor/timing/measure.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"

namespace anchor {

MedianInterval median_interval(std::vector<std::int64_t> samples) {
  MedianInterval interval;
  if (samples.empty()) return interval;
  std::sort(samples.begin(), samples.end());
  const std::size_t n = samples.size();
  const auto at = [&](std::size_t rank) { return static_cast<double>(samples[rank]); };
  interval.median = (at((n - 1) / 2) + at(n / 2)) / 2;

  std::size_t low = 0;  // zero-based rank; P(Binomial <= low) <= 2.5 %
  double term = std::exp2(-static_cast<double>(n)), tail = term;
  interval.valid = tail <= 0.025;
  while (interval.valid) {
    term *= static_cast<double>(n - low) / static_cast<double>(low + 1);
    if (tail + term > 0.025) break;
    tail += term;
    ++low;
  }
  interval.low = at(low);
  interval.high = at(n - 1 - low);
  return interval;
}

bool StopRule::settled(std::span<const std::int64_t> samples) const {
  const MedianInterval i = median_interval({samples.begin(), samples.end()});
  return i.valid && i.high - i.low < relative_width * i.median;
}

bool StopRule::stop(std::span<const std::int64_t> samples, double seconds_spent) const {
  const int n = static_cast<int>(samples.size());
  return n >= max_samples || seconds_spent >= seconds || (n >= min_samples && settled(samples));
}

namespace {

/// One run; a data error ends the contender, anything else ends the measurement.
bool run_once(const Contender& contender, Measurement& result, bool keep) {
  check_interrupt();
  try {
    const std::int64_t time = contender.run();
    if (keep) result.samples_ns.push_back(time);
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    result.error = error.what();
    return false;
  }
}

}  // namespace

std::vector<Measurement> measure(std::span<const Contender> contenders, const StopRule& rule,
                                 const std::function<double()>& now) {
  const auto clock = now ? now : [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  std::vector<Measurement> results(contenders.size());
  std::vector<double> spent(contenders.size(), 0);
  std::vector<std::size_t> active;
  for (std::size_t c = 0; c < contenders.size(); ++c) {
    if (run_once(contenders[c], results[c], false) && run_once(contenders[c], results[c], false))
      active.push_back(c);
  }
  while (!active.empty()) {
    std::erase_if(active, [&](std::size_t c) {
      const double start = clock();
      if (!run_once(contenders[c], results[c], true)) return true;
      spent[c] += clock() - start;
      return rule.stop(results[c].samples_ns, spent[c]);
    });
  }
  for (Measurement& result : results) result.settled = rule.settled(result.samples_ns);
  return results;
}

}  // namespace anchor
