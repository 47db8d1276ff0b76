#pragma once

#include "cli/main.hpp"

namespace anchor::dump {

/// `inspect`: what is in a dump.
void setup_inspect(CLI::App& app, cli::Command& command);

}  // namespace anchor::dump
