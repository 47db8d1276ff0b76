#pragma once

#include "cli/main.hpp"

namespace anchor::sweep {

/// `cluster D.h5 --out clusters.json`: heads with alike attention, for SharePrefill.
void setup_cluster(CLI::App& app, cli::Command& command);

}  // namespace anchor::sweep
