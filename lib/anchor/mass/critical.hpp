#pragma once

#include <cstdint>
#include <vector>

namespace anchor {

/// What one head's exact curve is made of: every plan entry that the method can add, with the knob value at
/// which it enters, the causal pairs it adds and the attention mass it holds; and what is kept at every knob
/// value.
struct CriticalItems {
  std::vector<float> knob;  ///< entry n is selected exactly when knob[n] <= the method's knob (see below)
  std::vector<std::int32_t> pairs;  ///< visible pairs that entry n adds
  std::vector<float> mass;          ///< its attention mass, summed over query rows
  bool descending = false;          ///< selected when knob[n] >= the knob instead: a larger knob keeps less
  std::int64_t forced_pairs = 0;    ///< pairs of the entries that are always kept
  double forced_mass = 0;           ///< their mass
  std::int64_t causal_pairs = 0;    ///< denominator of density
  std::int64_t query_rows = 0;      ///< denominator of mean mass recall
};

}  // namespace anchor
