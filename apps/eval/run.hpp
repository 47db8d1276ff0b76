#pragma once

#include <string>
#include <vector>

#include "cli/main.hpp"

namespace anchor::eval {

/// `run`: the tasks of a file, with dense attention and with methods.
void setup_run(CLI::App& app, cli::Command& command, const std::vector<std::string>& argv);

}  // namespace anchor::eval
