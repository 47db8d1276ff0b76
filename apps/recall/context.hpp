#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "anchor/engine/engine.hpp"
#include "anchor/method/method_run.hpp"
#include "anchor/plan/context_cost.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor::recall {

/// --context-parallel and --ranks as the shapes that are looked at: every layout with every number of ranks.
struct ContextOptions {
  std::string layouts;  ///< empty = not asked for
  std::string ranks = "2-16*2";

  std::vector<ContextSplit> splits(std::int64_t tokens) const;
};

/// One layout and number of ranks: what plans cost, and dense attention beside them, summed up. Layers wait
/// for each other, so the slowest rank is found in each.
class ContextSum {
 public:
  /// The KV heads of one layer; `token_bytes`: of a token's key and value.
  void add_layer(std::span<const ContextCost> plans, std::span<const ContextCost> dense, int ranks,
                 std::int64_t token_bytes);
  /// Into a row: imbalance, tiles, keys that travel.
  void fill(ResultRow& row, std::int64_t unsplit_work) const;

 private:
  double most_pairs_ = 0, mean_pairs_ = 0, most_work_ = 0, mean_work_ = 0, work_ = 0;
  double moved_ = 0, dense_moved_ = 0;          ///< bytes over all ranks
  double hop_bytes_ = 0, dense_hop_bytes_ = 0;  ///< bytes that the busiest rank takes in, hop after hop
};

/// What the plans of one KV group cost under every split.
struct GroupContext {
  PlanStats stats;
  std::string plan_path;
  std::int64_t unsplit_work = 0;  ///< in tiles, on one rank
  std::vector<ContextCost> plans, dense;
};

/// `heads`: of the group, counted from its first.
GroupContext group_context(Engine& engine, const Inputs& inputs, const MethodRun& run,
                           const PlanRequest& request, std::span<const int> heads,
                           std::span<const ContextSplit> splits);

/// One method over a dump, layer by layer.
class ContextRun {
 public:
  /// A split with its sums: of one layer, or of the model.
  using Use =
      std::function<void(const ContextSplit& split, const ContextSum& sum, const GroupContext& totals)>;

  explicit ContextRun(std::span<const ContextSplit> splits) : splits_(splits), model_(splits.size()) {}

  void add(GroupContext group) { layer_.push_back(std::move(group)); }
  /// The groups added since the last call are a layer.
  void finish_layer(std::int64_t token_bytes, const Use& use);
  void finish(const Use& use) const;

 private:
  std::span<const ContextSplit> splits_;
  std::vector<GroupContext> layer_;
  std::vector<ContextSum> model_;
  GroupContext totals_;  ///< of the model; without costs
};

}  // namespace anchor::recall
