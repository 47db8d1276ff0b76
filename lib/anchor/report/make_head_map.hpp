#pragma once

#include "anchor/data/dump_reader.hpp"
#include "anchor/engine/engine.hpp"
#include "anchor/report/head_map.hpp"

namespace anchor {

/// The map of one head's attention mass and of what a plan keeps of it, by tiles of head_map_tile() keys and
/// rows. `request`: for all heads of the head's KV group. A data error if a value is not finite.
HeadMap make_head_map(Engine& engine, const DumpReader& reader, int layer, int head, const Method& method,
                      const PlanRequest& request);

}  // namespace anchor
