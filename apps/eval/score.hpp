#pragma once

#include "cli/main.hpp"

namespace anchor::eval {

/// `score P.jsonl`: what other programs predicted for `tasks --ruler`, by RULER's rules.
void setup_score(CLI::App& app, cli::Command& command);

}  // namespace anchor::eval
