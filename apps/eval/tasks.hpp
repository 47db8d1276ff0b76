#pragma once

#include "cli/main.hpp"

namespace anchor::eval {

/// `tasks`: questions with answers, made from a seed and a tokenizer.
void setup_tasks(CLI::App& app, cli::Command& command);

}  // namespace anchor::eval
