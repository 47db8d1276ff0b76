#pragma once

#include "anchor/method/method.hpp"

namespace anchor {

/// Query heads whose rows share one tile: all heads of a KV head (V2), or one (V1).
int flash_packed_heads(const Geometry& geometry, const Params& params);

/// A usage error if heads that share a tile have different knobs.
void check_flash_knobs(const PlanRequest& request, const Geometry& geometry, int packed_heads);

}  // namespace anchor
