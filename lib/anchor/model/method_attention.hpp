#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "anchor/attention/attention.hpp"
#include "anchor/method/method.hpp"
#include "anchor/plan/plan_stats.hpp"

namespace anchor {

/// Puts a result of some query rows of all heads to rows [begin, begin + rows) of a whole layer's result, of
/// shape `whole`.
void copy_rows(const AttentionResult& part, std::int64_t begin, std::int64_t rows, const Geometry& whole,
               AttentionResult& into);

/// A sparse attention method in every layer of a forward pass: what it is asked for layer by layer, and what
/// its plans kept.
class MethodAttention {
 public:
  /// Gives the request of a layer the knobs and parameters of its heads; empty = the same for all.
  using ChooseHeads = std::function<void(PlanRequest& request)>;

  MethodAttention(const Method& method, Params params, ChooseHeads choose);

  const Method& method() const { return *method_; }
  /// Sees every plan of attend(); empty: nobody does.
  using PlanFn = std::function<void(int layer, const SparsePlan& plan)>;
  void on_plan(PlanFn use) { on_plan_ = std::move(use); }
  PlanRequest request(int layer) const;
  /// Plans and executes one layer on the CPU; the layers of a prompt in order.
  AttentionResult attend(int layer, const AttentionInputs& inputs);

  /// Adds a plan to the sums over all heads and layers.
  void count(const SparsePlan& plan);
  void count(const PlanStats& of_head) { stats_ += of_head; }
  const PlanStats& stats() const { return stats_; }

 private:
  const Method* method_;
  Params params_;
  ChooseHeads choose_;
  std::shared_ptr<ModelState> state_;
  PlanStats stats_;
  PlanFn on_plan_;
};

}  // namespace anchor
