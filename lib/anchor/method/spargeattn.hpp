#pragma once

#include "anchor/method/params.hpp"

namespace anchor {

/// Above this mean cosine of its rows' pairs a block stands for them.
double sparge_similarity(const Params& params);

}  // namespace anchor
