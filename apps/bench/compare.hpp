#pragma once

#include "cli/main.hpp"

namespace anchor::bench {

/// `compare A.jsonl B.jsonl`: faster, same or slower, by confidence intervals.
void setup_compare(CLI::App& app, cli::Command& command);

}  // namespace anchor::bench
