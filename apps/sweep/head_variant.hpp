#pragma once

#include <string>
#include <vector>

#include "cli/method_options.hpp"

namespace anchor::sweep {

/// One of the parameter sets among which --fit chooses for every head.
struct HeadVariant {
  Params params;
  ScalarMap choice;  ///< what distinguishes it; empty if there is nothing to choose
  double cost = 0;   ///< counts as so much density when variants are compared
};

/// The variants that every --choose NAME=A,B@COST asks for, all combinations of several, or the run's
/// parameters alone. Usage errors: a parameter that cannot differ from head to head, values that it does not
/// take, a cost that is no number.
std::vector<HeadVariant> head_variants(const std::vector<std::string>& choose, const MethodRun& run);

}  // namespace anchor::sweep
