#pragma once

#include "cli/main.hpp"

namespace anchor::dump {

/// `export` and `import`: dumps to and from safetensors.
void setup_transfer(CLI::App& app, cli::Command& command);

}  // namespace anchor::dump
