#pragma once

#include <span>
#include <string>
#include <vector>

#include "anchor/engine/engine.hpp"
#include "anchor/report/head_views.hpp"
#include "cli/common_options.hpp"
#include "cli/dump_options.hpp"
#include "cli/method_options.hpp"

namespace anchor::report {

/// What the report shows of every selected head: where its attention lies, its exact curve, and what the
/// method keeps at a few knob values (the run's own where the method has no exact curve). A KV group whose
/// data are bad has views that say so. `token_texts` may be empty.
HeadViews make_views(Engine& engine, const DumpReader& reader, const std::vector<GroupSelection>& groups,
                     const MethodRun& run, std::span<const std::string> token_texts,
                     const cli::CommonOptions& options);

}  // namespace anchor::report
