#pragma once

#include <optional>
#include <string>
#include <vector>

#include "anchor/engine/dense_reference.hpp"
#include "anchor/engine/engine.hpp"
#include "anchor/metrics/difference.hpp"
#include "anchor/metrics/peak_recall.hpp"
#include "anchor/metrics/recall.hpp"
#include "anchor/plan/plan_stats.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {

/// What a method's plan kept of one head, and how its output differs from dense attention on the same inputs.
struct HeadReplay {
  PlanStats stats;
  RecallStats recall;
  OutputDifference difference;
  std::optional<PeakCounts> peaks = {};
};

/// One method replayed on one KV group.
struct Replay {
  std::vector<HeadReplay> heads;  ///< one per query head of the group
  std::string plan_path;          ///< where the plan was made
};

/// Plans, executes and compares. Row oracles run in ranges of query rows, so that no plan lists all of them
/// at once.
Replay replay(Engine& engine, const Inputs& inputs, const Method& method, const PlanRequest& request,
              DenseReference& dense);

/// Density, recall and difference of a head in its result row.
void fill_measured(ResultRow& row, const HeadReplay& replay);

}  // namespace anchor
