#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

#include "anchor/method/method_run.hpp"

namespace anchor::cli {

/// Which methods to run, with which parameters, as the command line says it.
struct MethodOptions {
  std::string names = "anchor";
  std::vector<std::string> set;               ///< KEY=VALUE or NAME.KEY=VALUE
  std::map<std::string, std::string> direct;  ///< --theta and its like; empty text = not given
  bool named = false;                         ///< --method was given
  bool set_from_file = false;                 ///< `set` comes from --config: flags win over it
};

/// --method, --set and the flags --theta --gamma --alpha --tau --block --step --stride --mode, whose help is
/// that of the methods' parameters. Needs the raw command line to tell a --set from one in --config.
void add_method(CLI::App& app, MethodOptions& options, const std::vector<std::string>& argv);

/// The runs in the order given. A flag takes a list or range (--theta 8,10 or 4:16:4) and then stands for one
/// run per value. Usage errors: unknown method or parameter (with the nearest), a flag that no chosen method
/// has, a flag and a --set for the same parameter, a bare --set KEY with several methods.
std::vector<MethodRun> resolve_methods(const MethodOptions& options);

/// A hint for people when `region`, the density of what the method keeps whatever its knob, is more than
/// half: then a smaller group leaves the knob more to choose. Empty otherwise, and for methods without groups
/// (no parameter step).
std::string region_hint(double region, const Params& params);

}  // namespace anchor::cli
