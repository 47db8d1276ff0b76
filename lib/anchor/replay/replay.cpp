#include "anchor/replay/replay.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/parallel.hpp"

namespace anchor {

Replay replay(Engine& engine, const Inputs& inputs, const Method& method, const PlanRequest& request,
              DenseReference& dense) {
  const Geometry& geometry = inputs.geometry();
  const auto heads = static_cast<std::size_t>(geometry.q_heads);
  const std::int64_t chunk = method.rows_per_plan == 0 ? geometry.q_len : method.rows_per_plan;

  Replay result;
  result.heads.resize(heads);
  std::vector<std::vector<double>> recall(heads);
  for (std::int64_t begin = 0; begin < geometry.q_len; begin += chunk) {
    check_interrupt();
    const std::int64_t end = std::min(begin + chunk, geometry.q_len);
    const PlanHandle plan = engine.plan(method, request, inputs, begin, end);
    result.plan_path = plan->plan_path();
    const std::vector<PlanStats> stats = engine.stats(*plan);
    const std::vector<HeadComparison> compared = dense.compare_heads(*plan, begin);
    for (std::size_t head = 0; head < heads; ++head) {
      result.heads[head].stats += stats[head];
      result.heads[head].difference.add(compared[head].difference);
      const std::vector<double>& shares = compared[head].row_recall;
      recall[head].insert(recall[head].end(), shares.begin(), shares.end());
      if (!compared[head].peaks) continue;
      std::optional<PeakCounts>& peaks = result.heads[head].peaks;
      peaks = peaks.value_or(PeakCounts{}) += *compared[head].peaks;
    }
  }
  for (std::size_t head = 0; head < heads; ++head)
    result.heads[head].recall = recall_stats(std::move(recall[head]));
  return result;
}

void fill_measured(ResultRow& row, const HeadReplay& replay) {
  row.density = replay.stats.density();
  row.work_density = replay.stats.work_density();
  row.stripe_density = replay.stats.stripe_density();
  row.mass_recall = replay.recall.mean;
  row.mass_recall_p05 = replay.recall.p05;
  row.mass_recall_min = replay.recall.min;
  row.output_recall_001 = replay.difference.recall_001();
  row.output_recall_0005 = replay.difference.recall_0005();
  // Where the dense output is 0 and the plan's is not, the relative error is no number.
  if (const double error = replay.difference.relative_l2(); std::isfinite(error)) row.out_rel_l2 = error;
  row.out_max_abs = replay.difference.max_abs();
  row.out_mean_abs = replay.difference.mean_abs();
  if (!replay.peaks) return;
  row.peak_recall_025 = replay.peaks->recall(0);
  row.peak_recall_00625 = replay.peaks->recall(1);
  row.peak_pairs_025 = static_cast<double>(replay.peaks->all[0]);
  row.peak_pairs_00625 = static_cast<double>(replay.peaks->all[1]);
}

}  // namespace anchor
