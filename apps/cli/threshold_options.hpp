#pragma once

#include "anchor/experiment/thresholds.hpp"
#include "cli/dump_options.hpp"
#include "cli/method_options.hpp"

namespace anchor::cli {

/// The one run that a thresholds file stands for: its method and parameters. Usage errors: another --method,
/// a flag or
/// --set that contradicts the file, the knob itself. Data errors: a method or parameter that this build does
/// not know.
MethodRun thresholds_run(const Thresholds& thresholds, const std::string& path, const MethodOptions& options);

/// The knob values of all query heads of a group (PlanRequest::knobs): the file's for the selected heads,
/// `other` for the rest. A data error names a selected head that the file lacks.
std::vector<double> group_knobs(const Thresholds& thresholds, const std::string& path,
                                const GroupSelection& group, int q_heads, double other);

}  // namespace anchor::cli
