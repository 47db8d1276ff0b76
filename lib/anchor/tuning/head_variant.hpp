#pragma once

#include <span>
#include <string>
#include <vector>

#include "anchor/method/method_run.hpp"

namespace anchor {

/// A parameter that is chosen head by head, and the values to choose from.
struct ParamChoice {
  struct Value {
    std::string text;  ///< as the command line writes it
    double cost = 0;   ///< counts as so much density more when settings are compared
  };
  std::string name;
  std::vector<Value> values;
};

/// Reads "NAME=A,B@COST" for the option `flag`; values without a cost cost nothing. Usage errors: another
/// form, a cost that is no density.
ParamChoice parse_param_choice(const std::string& text, const std::string& flag);

/// One of the parameter sets among which a fit chooses for every head.
struct HeadVariant {
  Params params;
  ScalarMap choice;  ///< the parameters that distinguish it; empty if there is nothing to choose
  double cost = 0;   ///< counts as so much density when variants are compared
};

/// All combinations of the choices' values on top of the run's parameters; without choices these alone. Usage
/// errors: a parameter that cannot differ from head to head or that is chosen twice, a value that it does not
/// take.
std::vector<HeadVariant> head_variants(const MethodRun& run, std::span<const ParamChoice> choices);

}  // namespace anchor
