#pragma once

#include "cli/main.hpp"

namespace anchor::sweep {

/// `calibrate A.h5,B.h5 --error X`: a paper's own rule for the knob of every head.
void setup_calibrate(CLI::App& app, cli::Command& command, const std::vector<std::string>& argv);

}  // namespace anchor::sweep
