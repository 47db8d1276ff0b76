#pragma once

#include <CLI/CLI.hpp>

#include "cli/main.hpp"

namespace anchor::sweep {

/// `codebook --fit A.h5,B.h5 --out C.h5`: the codes of far keys, for A2ATS.
void setup_codebook(CLI::App& app, cli::Command& command);

}  // namespace anchor::sweep
