#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace anchor::cli {

/// What a tool or subcommand does once its options are known; returns the exit code.
using Command = std::function<int()>;

/// Parses the command line, then calls what `command` holds by then (subcommands set it in their callbacks),
/// and turns errors into one line on stderr and an exit code: 1 data, 2 usage, 130 interrupted. Ctrl-C asks
/// long loops to stop; a second one ends the program.
int run_main(int argc, char** argv, CLI::App& app, const Command& command);

}  // namespace anchor::cli
