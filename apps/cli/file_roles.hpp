#pragma once

#include <CLI/CLI.hpp>

namespace anchor::cli {

/// Refuses a command line on which an output is one of the inputs, or two outputs are the same file, whatever
/// their names: through links, too. A usage error that names them. Every option whose value is not an output
/// may name an input. Call it after parsing and before any file is opened.
void check_files(const CLI::App& app);

}  // namespace anchor::cli
