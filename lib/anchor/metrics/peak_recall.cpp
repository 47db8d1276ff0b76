#include "anchor/metrics/peak_recall.hpp"

#include <algorithm>

#include "anchor/plan/listed.hpp"

namespace anchor {

PeakCounts& PeakCounts::operator+=(const PeakCounts& other) {
  for (std::size_t n = 0; n < all.size(); ++n) {
    all[n] += other.all[n];
    kept[n] += other.kept[n];
  }
  return *this;
}

PeakCounts count_peaks(const SparsePlan& plan, int head, std::int64_t first, std::span<const Peak> peaks,
                       const RowRange& rows) {
  const std::int64_t begin = std::max(first, rows.begin),
                     end = std::min(first + plan.geometry.q_len, rows.end);
  PeakCounts counts;
  auto peak = std::ranges::lower_bound(peaks, begin, {}, [](const Peak& p) { return std::int64_t{p.row}; });
  for (; peak != peaks.end() && peak->row < end; ++peak) {
    const std::int64_t row = peak->row - first;
    const bool kept = lists_key(plan, plan.row_of(head, row), peak->key) &&
                      plan.allows(head, plan.geometry.q_start + row, peak->key);
    for (std::size_t n = 0; n < peak_weights.size(); ++n) {
      if (static_cast<double>(peak->weight) < peak_weights[n]) continue;
      ++counts.all[n];
      counts.kept[n] += kept;
    }
  }
  return counts;
}

}  // namespace anchor
