#include "anchor/model/method_attention.hpp"

#include <algorithm>

#include "anchor/attention/cpu_executor.hpp"
#include "anchor/base/parallel.hpp"

namespace anchor {

void copy_rows(const AttentionResult& part, std::int64_t begin, std::int64_t rows, const Geometry& whole,
               AttentionResult& into) {
  for (int head = 0; head < whole.q_heads; ++head) {
    std::copy_n(part.out.begin() + head * rows * whole.head_dim, rows * whole.head_dim,
                into.out.begin() + (head * whole.q_len + begin) * whole.head_dim);
    std::copy_n(part.lse.begin() + head * rows, rows, into.lse.begin() + head * whole.q_len + begin);
  }
}

MethodAttention::MethodAttention(const Method& method, Params params, ChooseHeads choose)
    : method_(&method),
      params_(std::move(params)),
      choose_(std::move(choose)),
      state_(method.model_state ? method.model_state(params_) : nullptr) {}

PlanRequest MethodAttention::request(int layer) const {
  PlanRequest made{.params = params_, .knobs = {}, .state = state_, .layer = layer};
  if (choose_) choose_(made);
  return made;
}

void MethodAttention::count(const SparsePlan& plan) {
  for (int head = 0; head < plan.geometry.q_heads; ++head) stats_ += plan_stats(plan, head);
}

AttentionResult MethodAttention::attend(int layer, const AttentionInputs& inputs) {
  const Geometry& g = inputs.geometry;
  const PlanRequest asked = request(layer);
  const std::int64_t chunk = method_->rows_per_plan == 0 ? g.q_len : method_->rows_per_plan;
  AttentionResult whole;
  whole.out.resize(static_cast<std::size_t>(g.q_heads * g.q_len * g.head_dim));
  whole.lse.resize(static_cast<std::size_t>(g.q_heads * g.q_len));
  for (std::int64_t begin = 0; begin < g.q_len; begin += chunk) {
    check_interrupt();
    const std::int64_t rows = std::min(chunk, g.q_len - begin);
    const AttentionInputs part = inputs.rows(begin, begin + rows);
    const SparsePlan plan = method_->plan_cpu(part, asked);
    count(plan);
    if (on_plan_) on_plan_(layer, plan);
    copy_rows(cpu_attention(part, plan), begin, rows, g, whole);
  }
  return whole;
}

}  // namespace anchor
