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

  /// Where consecutive entries lie: entry n of a run stands for the keys [key + n * width, key + (n + 1) *
  /// width) of query rows [row_begin, row_end), as far as the rows see them.
  struct Run {
    std::int64_t row_begin = 0, row_end = 0;
    std::int64_t key = 0, width = 1;
    std::int64_t entries = 0;
  };
  std::vector<Run> places;  ///< all entries in their order, or empty: the method does not say

  /// Says that the next entry stands for these keys of these rows.
  void place(std::int64_t row_begin, std::int64_t row_end, std::int64_t key, std::int64_t width = 1);
};

}  // namespace anchor
