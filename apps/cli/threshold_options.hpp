#pragma once

#include "anchor/tuning/thresholds.hpp"
#include "cli/method_options.hpp"

namespace anchor::cli {

/// The one run that a thresholds file stands for: its method and parameters. Usage errors: another --method,
/// a flag or a --set that contradicts the file, the knob itself. Data errors: a method or parameter that this
/// build does not know.
MethodRun thresholds_run(const Thresholds& thresholds, const std::string& path, const MethodOptions& options);

}  // namespace anchor::cli
