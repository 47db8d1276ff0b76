#pragma once

#include <string>
#include <vector>

#include "anchor/timing/layer_timing.hpp"
#include "bench/run.hpp"

namespace anchor::bench {

/// --thresholds and --match, the cache, and when to stop. Flags that exclude each other are a usage error.
TimingSettings timing_settings(const Options& options);

/// The baselines on a device, then the methods: once for each of the stripe densities that were asked for.
/// `geometry`: of a layer to be timed.
std::vector<TimedMethod> timed_methods(const Options& options, const TimingSettings& settings,
                                       const std::string& device, const Geometry& geometry);

}  // namespace anchor::bench
