#include "anchor/experiment/replay.hpp"

#include <algorithm>

#include "anchor/base/parallel.hpp"

namespace anchor {

AttentionResult dense_attention(Engine& engine, const Inputs& inputs) {
  const Method& dense = find_method("dense");
  const PlanRequest request{default_params(dense), {}};
  return engine.execute(inputs, *engine.plan(dense, request, inputs, 0, inputs.geometry().q_len));
}

Replay replay(Engine& engine, const Inputs& inputs, const Method& method, const PlanRequest& request,
              const AttentionResult& dense) {
  const Geometry& geometry = inputs.geometry();
  const auto heads = static_cast<std::size_t>(geometry.q_heads),
             dim = static_cast<std::size_t>(geometry.head_dim);
  const auto all_rows = static_cast<std::size_t>(geometry.q_len);
  const std::int64_t chunk = method.rows_per_plan == 0 ? geometry.q_len : method.rows_per_plan;

  Replay result;
  result.heads.resize(heads);
  std::vector<std::vector<double>> recall(heads);
  for (std::int64_t begin = 0; begin < geometry.q_len; begin += chunk) {
    check_interrupt();
    const std::int64_t end = std::min(begin + chunk, geometry.q_len);
    const auto first = static_cast<std::size_t>(begin), rows = static_cast<std::size_t>(end - begin);
    const PlanHandle plan = engine.plan(method, request, inputs, begin, end);
    result.plan_path = plan->plan_path();
    const SparsePlan host = plan->to_host();
    const AttentionResult sparse = engine.execute(inputs, *plan);
    for (std::size_t head = 0; head < heads; ++head) {
      HeadReplay& out = result.heads[head];
      out.stats += plan_stats(host, static_cast<int>(head));
      out.difference.add(std::span(sparse.out).subspan(head * rows * dim, rows * dim),
                         std::span(dense.out).subspan((head * all_rows + first) * dim, rows * dim));
      const auto shares = row_mass_recall(std::span(sparse.lse).subspan(head * rows, rows),
                                          std::span(dense.lse).subspan(head * all_rows + first, rows));
      recall[head].insert(recall[head].end(), shares.begin(), shares.end());
    }
  }
  for (std::size_t head = 0; head < heads; ++head)
    result.heads[head].recall = recall_stats(std::move(recall[head]));
  return result;
}

}  // namespace anchor
