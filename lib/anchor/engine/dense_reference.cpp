#include "anchor/engine/dense_reference.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/engine/engine.hpp"
#include "anchor/metrics/recall.hpp"

namespace anchor {
namespace {

class HostReference final : public DenseReference {
 public:
  HostReference(Engine& engine, const Inputs& inputs)
      : engine_(engine), inputs_(inputs), dense_(dense_attention(engine, inputs)) {}

  Kept compare(const DevicePlan& plan) override {
    Kept kept;
    const std::vector<HeadComparison> heads = compare_heads(plan, 0);
    for (const HeadComparison& head : heads) {
      kept.mass_recall += recall_stats(head.row_recall).mean / static_cast<double>(heads.size());
      kept.out_rel_l2 += head.difference.relative_l2() / static_cast<double>(heads.size());
    }
    return kept;
  }

  std::vector<HeadComparison> compare_heads(const DevicePlan& plan, std::int64_t first) override {
    const Geometry& g = inputs_.geometry();
    const AttentionResult sparse = engine_.execute(inputs_, plan);
    const auto heads = static_cast<std::size_t>(g.q_heads), all = static_cast<std::size_t>(g.q_len),
               dim = static_cast<std::size_t>(g.head_dim), rows = sparse.lse.size() / heads;
    std::vector<HeadComparison> compared(heads);
    for (std::size_t head = 0; head < heads; ++head) {
      const std::size_t at = head * all + static_cast<std::size_t>(first);
      compared[head].difference.add(std::span(sparse.out).subspan(head * rows * dim, rows * dim),
                                    std::span(dense_.out).subspan(at * dim, rows * dim));
      compared[head].row_recall = row_mass_recall(std::span(sparse.lse).subspan(head * rows, rows),
                                                  std::span(dense_.lse).subspan(at, rows));
    }
    return compared;
  }

 private:
  Engine& engine_;
  const Inputs& inputs_;
  AttentionResult dense_;
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

std::unique_ptr<DenseReference> host_dense_reference(Engine& engine, const Inputs& inputs) {
  return std::make_unique<HostReference>(engine, inputs);
}

}  // namespace anchor
