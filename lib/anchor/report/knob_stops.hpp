#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "anchor/mass/curve.hpp"
#include "anchor/method/params.hpp"

namespace anchor {

/// The knob values at which a page's slider stops, from the least to the most density: the knob's two ends,
/// and round numbers between them, evenly spread over the values at which `mean` (a mean over heads) changes;
/// and `wanted` besides. About `count` in all, each of them once. `mean` says whether the knob descends.
std::vector<double> knob_stops(const ParamSpec& knob, const Curve& mean, std::span<const double> wanted,
                               std::size_t count);

/// Both lists as one, in the order of the first.
std::vector<double> merged_stops(std::vector<double> stops, std::span<const double> more, bool descending);

}  // namespace anchor
