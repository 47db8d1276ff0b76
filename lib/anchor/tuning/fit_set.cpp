#include "anchor/tuning/fit_set.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"

namespace anchor {

bool FitSet::fits(std::size_t text) const {
  return std::find(fitted.begin(), fitted.end(), text) != fitted.end();
}

std::vector<FitSet> fit_sets(FitSplit split, const std::vector<std::string>& names, std::size_t fitted) {
  std::vector<std::size_t> all, first, rest;
  for (std::size_t n = 0; n < names.size(); ++n) {
    all.push_back(n);
    (n < fitted ? first : rest).push_back(n);
  }
  if (split == FitSplit::together) return {{"all of --fit", first, all}};
  if (split == FitSplit::leave_one_out && fitted < 2)
    fail_usage("to leave one out needs two dumps to fit on, not {}", fitted);
  std::vector<FitSet> sets;
  for (const std::size_t n : first) {
    if (split == FitSplit::matrix) {
      sets.push_back({names[n], {n}, all});
      continue;
    }
    FitSet others{"all but " + names[n], first, {n}};
    std::erase(others.fitted, n);
    others.checked.insert(others.checked.end(), rest.begin(), rest.end());
    sets.push_back(std::move(others));
  }
  return sets;
}

}  // namespace anchor
