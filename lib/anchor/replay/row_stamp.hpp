#pragma once

#include <string>
#include <vector>

#include "anchor/engine/engine.hpp"
#include "anchor/method/method_run.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {

/// Where a row was made: its device, path, environment and command line.
void stamp(ResultRow& row, const Engine& engine, const std::vector<std::string>& argv);

/// The same and what was run: method and parameters, but for the knob (fixed_params()). Rows say themselves
/// whether their knob was given (`params`), searched (`value`), or runs along a curve.
void stamp(ResultRow& row, const Engine& engine, const MethodRun& run, const std::vector<std::string>& argv);

}  // namespace anchor
