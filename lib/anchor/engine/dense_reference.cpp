#include "anchor/engine/dense_reference.hpp"

#include "anchor/engine/engine.hpp"
#include "anchor/metrics/difference.hpp"
#include "anchor/metrics/recall.hpp"

namespace anchor {
namespace {

class HostReference final : public DenseReference {
 public:
  HostReference(Engine& engine, const Inputs& inputs) : engine_(engine), inputs_(inputs) {
    const Method& method = find_method("dense");
    const PlanRequest request{default_params(method), {}};
    dense_ = engine.execute(inputs, *engine.plan(method, request, inputs, 0, inputs.geometry().q_len));
  }

  Kept compare(const DevicePlan& plan) override {
    const Geometry& g = inputs_.geometry();
    const AttentionResult sparse = engine_.execute(inputs_, plan);
    Kept kept;
    const auto rows = static_cast<std::size_t>(g.q_len),
               elements = rows * static_cast<std::size_t>(g.head_dim);
    for (std::size_t head = 0; head < static_cast<std::size_t>(g.q_heads); ++head) {
      const auto lse = [&](const AttentionResult& r) { return std::span(r.lse).subspan(head * rows, rows); };
      const auto out = [&](const AttentionResult& r) {
        return std::span(r.out).subspan(head * elements, elements);
      };
      kept.mass_recall += recall_stats(row_mass_recall(lse(sparse), lse(dense_))).mean / g.q_heads;
      OutputDifference difference;
      difference.add(out(sparse), out(dense_));
      kept.out_rel_l2 += difference.relative_l2() / g.q_heads;
    }
    return kept;
  }

 private:
  Engine& engine_;
  const Inputs& inputs_;
  AttentionResult dense_;
};

}  // namespace

std::unique_ptr<DenseReference> host_dense_reference(Engine& engine, const Inputs& inputs) {
  return std::make_unique<HostReference>(engine, inputs);
}

}  // namespace anchor
