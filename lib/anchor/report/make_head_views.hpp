#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "anchor/engine/engine.hpp"
#include "anchor/method/method_run.hpp"
#include "anchor/replay/head_selection.hpp"
#include "anchor/report/head_views.hpp"

namespace anchor {

/// What the report shows of every selected head: where its attention lies, its exact curve, and what the
/// method keeps at a few knob values (the run's own where the method has no exact curve). A KV group whose
/// data are bad has views that say so. `token_texts` may be empty. `progress` is called before each group
/// with its number and its selection.
HeadViews make_head_views(Engine& engine, const DumpReader& reader, const std::vector<GroupSelection>& groups,
                          const MethodRun& run, std::span<const std::string> token_texts,
                          const std::function<void(std::size_t, const GroupSelection&)>& progress);

}  // namespace anchor
