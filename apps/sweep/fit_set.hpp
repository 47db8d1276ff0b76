#pragma once

#include <string>
#include <vector>

#include "anchor/report/table.hpp"
#include "sweep/sweep.hpp"

namespace anchor::sweep {

/// Knobs that are fitted on some dumps and looked at on some: indices into the list of all dumps.
struct FitSet {
  std::string name;  ///< of the fitted dumps
  std::vector<std::size_t> fitted, checked;

  bool fits(std::size_t dump) const;
};

/// What the options ask for. The first `fitted` of the dumps are those of --fit.
std::vector<FitSet> fit_sets(const Options& options, const std::vector<std::string>& dumps,
                             std::size_t fitted);

/// What the heads of one dump reach with the knobs of one fit.
struct Tally {
  double heads = 0, reach = 0, density = 0, recall = 0;  ///< sums
  double worst = 2;                                      ///< recall
  std::string worst_head;
  double error = 0, worst_error = -1, worst_p05 = 2;  ///< of plans that were run
  std::string worst_error_head, worst_p05_head;

  bool measured() const { return worst_error >= 0; }

  void add(const ResultRow& row, double target);
};

/// The tables for people that follow the rows: one line per dump for a single fit, matrices of fits and dumps
/// for several. tallies[set][dump].
void print_fits(const Options& options, const Request& request, const std::vector<FitSet>& sets,
                const std::vector<std::string>& dumps, const std::vector<std::vector<Tally>>& tallies);

}  // namespace anchor::sweep
