#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "anchor/base/row_range.hpp"
#include "anchor/plan/sparse_plan.hpp"

namespace anchor {

/// A (row, key) pair to which dense attention gives a large weight, exp(score - lse) of the row.
struct Peak {
  std::int32_t row = 0, key = 0;  ///< query row of the layer, token
  float weight = 0;
};

/// The weights from which on peaks are counted, and so the names of peak_recall_0.25 and peak_recall_0.0625.
inline constexpr std::array<double, 2> peak_weights{0.25, 0.0625};

/// How many peaks of each of these weights there are, and how many of them a plan keeps. Means over rows hide
/// the one row that answers a question; its peaks they do not.
struct PeakCounts {
  std::array<std::int64_t, 2> all{}, kept{};

  /// The share that is kept; nothing where there are none.
  std::optional<double> recall(std::size_t n) const {
    return all[n] > 0 ? std::optional(static_cast<double>(kept[n]) / static_cast<double>(all[n]))
                      : std::nullopt;
  }
  PeakCounts& operator+=(const PeakCounts& other);
};

/// Counts one head's peaks (ascending by row) in a plan whose row 0 is query row `first` of the layer, as far
/// as they lie in `rows`. What pv_skip leaves out counts as kept.
PeakCounts count_peaks(const SparsePlan& plan, int head, std::int64_t first, std::span<const Peak> peaks,
                       const RowRange& rows);

}  // namespace anchor
