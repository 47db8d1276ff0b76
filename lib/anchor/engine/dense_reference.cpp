#include "anchor/engine/dense_reference.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/engine/engine.hpp"
#include "anchor/metrics/recall.hpp"

namespace anchor {
namespace {

class HostReference final : public DenseReference {
 public:
  HostReference(Engine& engine, const Inputs& inputs, const std::optional<RowRange>& rows)
      : engine_(engine),
        inputs_(inputs),
        rows_(rows.value_or(RowRange{0, inputs.geometry().q_len})),
        dense_(dense_attention(engine, inputs)) {}

  Kept compare(const DevicePlan& plan) override {
    Kept kept;
    const std::vector<HeadComparison> heads = compared(plan, 0);
    for (const HeadComparison& head : heads) {
      kept.mass_recall += recall_stats(head.row_recall).mean / static_cast<double>(heads.size());
      kept.out_rel_l2 += head.difference.relative_l2() / static_cast<double>(heads.size());
    }
    return kept;
  }

  std::vector<HeadComparison> compare_heads(const DevicePlan& plan, std::int64_t first) override {
    std::vector<HeadComparison> heads = compared(plan, first);
    count_peaks_of(plan, first, heads);
    return heads;
  }

 private:
  std::vector<HeadComparison> compared(const DevicePlan& plan, std::int64_t first) {
    const Geometry& g = inputs_.geometry();
    const AttentionResult sparse = engine_.execute(inputs_, plan);
    const auto heads = static_cast<std::size_t>(g.q_heads), all = static_cast<std::size_t>(g.q_len),
               dim = static_cast<std::size_t>(g.head_dim), rows = sparse.lse.size() / heads;
    std::vector<HeadComparison> compared(heads);
    const std::int64_t begin = std::max(first, rows_.begin),
                       end = std::min(first + static_cast<std::int64_t>(rows), rows_.end);
    if (begin >= end) return compared;
    const auto skip = static_cast<std::size_t>(begin - first), count = static_cast<std::size_t>(end - begin);
    for (std::size_t head = 0; head < heads; ++head) {
      const std::size_t own = head * rows + skip, at = head * all + static_cast<std::size_t>(begin);
      compared[head].difference.add(std::span(sparse.out).subspan(own * dim, count * dim),
                                    std::span(dense_.out).subspan(at * dim, count * dim));
      compared[head].row_recall = row_mass_recall(std::span(sparse.lse).subspan(own, count),
                                                  std::span(dense_.lse).subspan(at, count));
    }
    return compared;
  }

  /// Finds the peaks once, for all plans.
  void count_peaks_of(const DevicePlan& handle, std::int64_t first, std::vector<HeadComparison>& compared) {
    const Geometry& g = inputs_.geometry();
    const auto rows = static_cast<std::size_t>(g.q_len);
    for (int head = static_cast<int>(peaks_.size()); head < g.q_heads; ++head) {
      check_interrupt();
      peaks_.push_back(engine_.peaks(
          inputs_, head, std::span(dense_.lse).subspan(static_cast<std::size_t>(head) * rows, rows)));
      if (!peaks_.back()) break;
    }
    if (!peaks_.back()) return;
    const SparsePlan plan = handle.to_host();
    parallel_for(g.q_heads, [&](std::int64_t head) {
      const auto n = static_cast<std::size_t>(head);
      compared[n].peaks = count_peaks(plan, static_cast<int>(head), first, *peaks_[n], rows_);
    });
  }

  Engine& engine_;
  const Inputs& inputs_;
  RowRange rows_;
  AttentionResult dense_;
  std::vector<std::optional<std::vector<Peak>>> peaks_;  // by head, from the first comparison on
};

}  // namespace

void require_finite(const AttentionResult& result, const Geometry& geometry) {
  const auto finite = [](auto x) { return std::isfinite(x); };
  const auto where = [&](std::size_t row) {
    const auto rows = static_cast<std::size_t>(geometry.q_len);
    return fmt::format("head {} of the group, query {}", row / rows, row % rows);
  };
  const auto lse = std::ranges::find_if_not(result.lse, finite);
  if (lse != result.lse.end())
    fail("{}: the dense softmax normaliser is {} (scores overflow float)",
         where(static_cast<std::size_t>(lse - result.lse.begin())), *lse);
  const auto out = std::ranges::find_if_not(result.out, finite);
  if (out != result.out.end())
    fail("{}: the dense attention output is {} (values overflow float)",
         where(static_cast<std::size_t>(out - result.out.begin()) /
               static_cast<std::size_t>(geometry.head_dim)),
         *out);
}

AttentionResult dense_attention(Engine& engine, const Inputs& inputs) {
  const Method& method = find_method("dense");
  const PlanRequest request{default_params(method), {}};
  AttentionResult result =
      engine.execute(inputs, *engine.plan(method, request, inputs, 0, inputs.geometry().q_len));
  require_finite(result, inputs.geometry());
  return result;
}

std::unique_ptr<DenseReference> host_dense_reference(Engine& engine, const Inputs& inputs,
                                                     const std::optional<RowRange>& rows) {
  return std::make_unique<HostReference>(engine, inputs, rows);
}

}  // namespace anchor
