#pragma once

#include "sweep/fit_options.hpp"

namespace anchor::sweep {

/// Fits every head's knob on some dumps and looks what it keeps on others; returns the exit code.
int run_fit(const FitOptions& options);

}  // namespace anchor::sweep
