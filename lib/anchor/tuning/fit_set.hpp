#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace anchor {

/// Knobs that are fitted on some texts and looked at on some: indices into the list of all texts.
struct FitSet {
  std::string name;  ///< the fitted texts; rows have it as `fitted_on`
  std::vector<std::size_t> fitted, checked;

  bool fits(std::size_t text) const;
};

/// Which texts are fitted together.
enum class FitSplit : std::uint8_t {
  together,       ///< all fitted texts; all texts are looked at
  matrix,         ///< each of them alone; all texts are looked at
  leave_one_out,  ///< all but one of them; that one and the texts that nothing is fitted on are looked at
};

/// The sets of a split. `names` are those of all texts, of which the first `fitted` may be fitted. A usage
/// error if one text is to be left out and there are no others.
std::vector<FitSet> fit_sets(FitSplit split, const std::vector<std::string>& names, std::size_t fitted);

}  // namespace anchor
