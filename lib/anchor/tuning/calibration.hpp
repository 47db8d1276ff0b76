#pragma once

#include <span>
#include <vector>

#include "anchor/replay/replay.hpp"

namespace anchor {

/// A published search for each head's knob, of methods where 0 is dense (Method::calibration_floor): while
/// the L1 error of the head's output, summed over all elements, is at least `error` times its rows, the knob
/// is halved; at the floor it becomes 0. `knobs` holds the given heads' knobs before and after: a search that
/// goes on where the last prompt's ended keeps what that one needed. Returns the plans at the found knobs.
/// SALE, arXiv 2505.24179, starts at 0.008 with the floor 1e-4; error 0.4 in its Llama recipe, 1 by default.
std::vector<HeadReplay> calibrate(Engine& engine, const Inputs& inputs, const Method& method,
                                  const Params& params, double error, std::span<const int> heads,
                                  std::span<double> knobs, DenseReference& dense);

/// The L1 norm of the output's error, mean over rows: what calibrate() holds against `error`.
double row_l1(const OutputDifference& difference, const Geometry& geometry);

}  // namespace anchor
