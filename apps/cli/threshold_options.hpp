#pragma once

#include <set>

#include "anchor/model/method_attention.hpp"
#include "anchor/model/model_config.hpp"
#include "anchor/tuning/thresholds.hpp"
#include "cli/common_options.hpp"
#include "cli/method_options.hpp"

namespace anchor::cli {

/// The one run that a thresholds file stands for: its method and parameters. Usage errors: another --method,
/// a flag or a --set that contradicts the file, the knob itself. Data errors: a method or parameter that this
/// build does not know.
MethodRun thresholds_run(const Thresholds& thresholds, const std::string& path, const MethodOptions& options);

/// Says so where a file's knobs were fitted on another model than that of `where`.
void note_other_model(const Thresholds& thresholds, const std::string& path, const std::string& where,
                      const std::string& model, const CommonOptions& options);

/// Gives the heads of a forward pass the settings of a file, which must know every head of the layers where
/// the method runs: those that are not among `dense_layers`. A data error names what it lacks.
MethodAttention::ChooseHeads choose_heads(const Thresholds& thresholds, const std::string& path,
                                          const Method& method, const ModelConfig& config,
                                          const std::set<int>& dense_layers = {});

}  // namespace anchor::cli
