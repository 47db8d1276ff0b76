#pragma once

#include <cstdint>
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

/// The run with which every head can have a knob of its own (Method::own_knobs), for searches of such knobs:
/// the parameter, if it was left at its default, gets the value for it.
MethodRun with_own_knobs(MethodRun run);

/// Why a run that keeps so large a share of the pairs does so, where the text is short (2048 tokens or
/// fewer), and the way out: one line. Empty if the run keeps less, or is meant to keep all.
std::string dense_hint(const MethodRun& run, double density, std::int64_t tokens);

/// "anchor theta=12", or "anchor theta per head" where every head has a knob of its own.
std::string run_title(const MethodRun& run, bool per_head);

/// "step=4" for runs of one method that differ in step; the methods' names for several methods. The knob does
/// not count.
std::vector<std::string> run_names(const std::vector<MethodRun>& runs);

}  // namespace anchor
