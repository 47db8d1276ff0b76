#pragma once

#include <span>
#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/metrics/peak_recall.hpp"

namespace anchor {

/// All pairs of one head whose dense weight is at least the least of peak_weights, ascending by row and key:
/// at most 16 a row. `lse` [q_len] is that of dense attention, natural log. One QK pass on all cores.
std::vector<Peak> cpu_peaks(const AttentionInputs& head, std::span<const double> lse);

/// The same from the definition: float64, one row at a time.
std::vector<Peak> reference_peaks(const AttentionInputs& head);

}  // namespace anchor
