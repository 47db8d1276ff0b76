#pragma once

#include <string>

#include "anchor/data/dump_reader.hpp"
#include "anchor/engine/engine.hpp"

namespace anchor::recall {

/// The picture of one head's attention mass and of what a plan keeps of it (report/head_map.hpp). `knobs` as
/// in PlanRequest.
std::string head_map_svg(Engine& engine, const DumpReader& reader, int layer, int head, const Method& method,
                         const PlanRequest& request);

}  // namespace anchor::recall
