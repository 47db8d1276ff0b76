#pragma once

#include <string>
#include <vector>

#include "anchor/method/method.hpp"

namespace anchor {

/// One method with a complete set of parameters.
struct MethodRun {
  const Method* method = nullptr;
  Params params;
};

/// All parameters but the knob: what a search for the knob holds fixed.
ScalarMap fixed_params(const MethodRun& run);

/// "step=4" for runs of one method that differ in step; the methods' names for several methods. The knob does
/// not count.
std::vector<std::string> run_names(const std::vector<MethodRun>& runs);

}  // namespace anchor
