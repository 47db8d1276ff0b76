#pragma once

#include <string>

#include "cli/option_table.hpp"

namespace anchor::cli {

/// -h: two examples to copy, what the tool is for, its own options. Lines are at most `width` columns wide.
std::string short_help(const CommandEntry& command, int width);

/// --help: usage, every option by group, the examples with what they print. `path` is the command line up to
/// the command: "anchor-dump " for a subcommand, else empty.
std::string complete_help(const CommandEntry& command, const std::string& path, int width);

}  // namespace anchor::cli
