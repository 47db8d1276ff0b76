#pragma once

#include "cli/main.hpp"

namespace anchor::dump {

/// `model`: run a language model over a text and write every layer's queries, keys and values.
void setup_model(CLI::App& app, cli::Command& command, const std::vector<std::string>& argv);

}  // namespace anchor::dump
