#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "anchor/method/far_scores.hpp"
#include "anchor/method/method.hpp"

namespace anchor {

/// Query rows whose far keys are scored together.
inline constexpr std::int64_t far_rows_at_once = 32;

/// How many far keys a query at `position` keeps: floor(topk (position + 1)), at most all of them.
std::int64_t far_count(const RetrievalRule& rule, double topk, std::int64_t position);

/// Every far key of every row of one head with the topk at which the plan lists it, weighed by its exact
/// mass. Critical values are folded into bins of 4096 to an octave: at the value of every bin the curve is
/// exact.
CriticalItems critical_topk(const AttentionInputs& inputs, int head, const Params& params,
                            const MassMap& mass);

/// How well the far keys of one head are ranked, over the rows that keep any: of the exact top K the share
/// that is found (topk_recall); the mass of what is found as a share of the exact top K's (relative_mass);
/// the squared error of the scores over their variance within a row, against the true scores (score_nmse) and
/// against the same ranking without codes (score_nmse_own), where there are scores; and bits_per_key, which
/// ranking reads.
std::map<std::string, double> ranking_quality(const AttentionInputs& inputs, int head,
                                              const PlanRequest& request);

/// A data error in a layer with a sliding window: what lies outside it cannot be retrieved.
void refuse_windows(const Geometry& geometry);

}  // namespace anchor
