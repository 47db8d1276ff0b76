#pragma once

#include <string>
#include <vector>

#include "cli/main.hpp"

namespace anchor::report {

/// `merge A.jsonl B.jsonl -o ALL.jsonl`: the rows of a sharded run as if one process had written them.
void setup_merge(CLI::App& app, cli::Command& command);

}  // namespace anchor::report
