#pragma once

#include <string>
#include <vector>

#include "anchor/tuning/tally.hpp"
#include "sweep/fit_options.hpp"

namespace anchor::sweep {

/// The file's name without its folder.
std::string short_name(const std::string& path);

/// The tables for people that follow the rows: one line per dump for a single fit, matrices of fits and dumps
/// for several. tallies[set][dump].
void print_fits(const FitOptions& options, const FitSpec& spec, const std::vector<FitSet>& sets,
                const std::vector<std::string>& dumps, const std::vector<std::vector<Tally>>& tallies);

}  // namespace anchor::sweep
