#pragma once

#include <string>

#include "cli/option_table.hpp"

namespace anchor::cli {

/// A completion script for that tool; `shell` is bash, zsh or fish (a usage error otherwise). Options are
/// offered by name, words from their choices, files where a file is meant.
std::string completion(const CommandEntry& tool, const std::string& shell);

/// The tool's manual page in roff (man macros), subcommands included.
std::string man_page(const CommandEntry& tool, const std::string& version);

}  // namespace anchor::cli
