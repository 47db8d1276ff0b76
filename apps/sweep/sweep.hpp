#pragma once

#include "sweep/sweep_options.hpp"

namespace anchor::sweep {

/// Curves and thresholds of one dump; returns the exit code.
int run_sweep(const SweepOptions& options);

}  // namespace anchor::sweep
