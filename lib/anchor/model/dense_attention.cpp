#include "anchor/model/dense_attention.hpp"

#include <algorithm>

#include "anchor/attention/cpu_executor.hpp"

namespace anchor {

SparsePlan whole_plan(const Geometry& g) {
  if (g.sliding_window <= 0 || g.sliding_window >= g.kv_len) {
    Geometry open = g;
    open.sliding_window = 0;
    return dense_plan(open, 512);
  }
  SparsePlan plan{.geometry = g};
  plan.window = SparsePlan::Window{
      .sink = 0,
      .local = std::vector<std::int64_t>(static_cast<std::size_t>(g.q_heads), g.sliding_window),
      .dense_from = g.q_start + g.q_len};
  for (int head = 0; head < g.q_heads; ++head) {
    for (std::int64_t group = 0; group < plan.groups(); ++group) {
      const std::int64_t first = g.q_start + group * plan.group_rows(), end = plan.group_end(group);
      append_run(plan, std::max<std::int64_t>(0, first - g.sliding_window + 1), end, end);
      plan.blocks.end_row();
      plan.columns.end_row();
    }
  }
  return plan;
}

AttentionResult dense_attention(const AttentionInputs& inputs) {
  return cpu_attention(inputs, whole_plan(inputs.geometry));
}

}  // namespace anchor
