#pragma once

#include "cli/main.hpp"

namespace anchor::dump {

/// `verify`: checksums, shapes, NaN and infinity, completeness.
void setup_verify(CLI::App& app, cli::Command& command);

}  // namespace anchor::dump
