#pragma once

#include "cli/main.hpp"

namespace anchor::dump {

/// `synthetic`: structured heads with known truth.
void setup_synthetic(CLI::App& app, cli::Command& command);

}  // namespace anchor::dump
