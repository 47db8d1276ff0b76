#pragma once

#include <algorithm>
#include <cstdint>

#include "anchor/base/geometry.hpp"

namespace anchor {

/// Keys [begin, end).
struct KeyRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return std::max<std::int64_t>(0, end - begin); }
};

/// Which keys every group of query rows keeps and which compete for selection, as AnchorAttention cuts them.
/// Groups, blocks and windows count absolute positions.
struct AnchorWindows {
  AnchorWindows(const Geometry& geometry, std::int64_t block, std::int64_t blocks_per_group, bool released,
                bool dense_last)
      : b(block),
        step(blocks_per_group),
        group(block * blocks_per_group),
        v4(released),
        dense_tail(dense_last),
        q_start(geometry.q_start),
        end(geometry.q_start + geometry.q_len),
        sliding(geometry.sliding_window) {}

  std::int64_t b, step, group;
  bool v4;                ///< windows counted in groups, as the released code does
  bool dense_tail;        ///< a partial last group sees everything
  std::int64_t tail = 0;  ///< the groups of the last rows, so many, see everything
  std::int64_t q_start, end;
  std::int64_t sliding;  ///< the layer's window, 0 = none

  /// First position of local group g.
  std::int64_t begin_of(std::int64_t g) const { return q_start + g * group; }
  /// Rows of this group see every causal key, and nothing is selected.
  bool dense(std::int64_t g) const {
    return begin_of(g) == 0 || (dense_tail && begin_of(g) + group > end && end % group != 0) ||
           (tail > 0 && begin_of(g) + group > end - tail);
  }
  /// The first key that the row at `position` sees.
  std::int64_t first_visible(std::int64_t position) const {
    return sliding > 0 ? std::max<std::int64_t>(0, position + 1 - sliding) : 0;
  }
  /// Keys that compete for selection: a layer's window leaves those that some row of the group sees.
  KeyRange candidates(std::int64_t g) const {
    return dense(g) ? KeyRange{} : clip({std::max(b, first_visible(begin_of(g))), begin_of(g) - b});
  }
  /// Keys outside initial and local window: kept only if selected. In v4 the last b of them can never be.
  KeyRange hole(std::int64_t g) const {
    if (dense(g)) return {};
    return v4 ? clip({group, begin_of(g)}) : candidates(g);
  }

 private:
  static KeyRange clip(KeyRange range) { return range.size() > 0 ? range : KeyRange{}; }
};

}  // namespace anchor
