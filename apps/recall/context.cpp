#include "recall/context.hpp"

#include <algorithm>
#include <numeric>

#include "anchor/base/lists.hpp"
#include "anchor/base/parallel.hpp"

namespace anchor::recall {
namespace {

/// Rows of a rank's tiles: the plan's, but 128 where every row has a list of its own.
int tile_rows(const SparsePlan& plan) { return plan.q_tile == 1 ? 128 : plan.q_tile; }

std::int64_t most(std::span<const std::int64_t> values) { return *std::ranges::max_element(values); }
std::int64_t sum(std::span<const std::int64_t> values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

/// The sum over the KV heads of a layer.
ContextCost total(std::span<const ContextCost> costs) {
  ContextCost all = costs[0];
  for (const ContextCost& cost : costs.subspan(1)) {
    const auto add = [](std::vector<std::int64_t>& to, const std::vector<std::int64_t>& from) {
      for (std::size_t n = 0; n < to.size(); ++n) to[n] += from[n];
    };
    add(all.pairs, cost.pairs);
    add(all.work, cost.work);
    add(all.keys, cost.keys);
  }
  return all;
}

/// Keys that leave their owner.
std::int64_t moved(const ContextCost& cost, int ranks) {
  std::int64_t keys = sum(cost.keys);
  for (int rank = 0; rank < ranks; ++rank) keys -= cost.keys[static_cast<std::size_t>(rank * (ranks + 1))];
  return keys;
}

/// What the busiest rank takes in at every hop, added up.
std::int64_t hops(const ContextCost& cost, int ranks) {
  std::int64_t keys = 0;
  for (int hop = 1; hop < ranks; ++hop) keys += keys_in_hop(cost, ranks, hop);
  return keys;
}

}  // namespace

std::vector<ContextSplit> ContextOptions::splits(std::int64_t tokens) const {
  std::vector<ContextSplit> all;
  for (const std::string& name : split_list(layouts, "--context-parallel")) {
    for (const std::int64_t n : parse_integers(ranks, "--ranks", 2, 1024))
      all.emplace_back(context_layout(name), static_cast<int>(n), tokens);
  }
  return all;
}

void ContextSum::add_layer(std::span<const ContextCost> plans, std::span<const ContextCost> dense, int ranks,
                           std::int64_t token_bytes) {
  const ContextCost plan = total(plans), full = total(dense);
  most_pairs_ += static_cast<double>(most(plan.pairs));
  mean_pairs_ += static_cast<double>(sum(plan.pairs)) / ranks;
  most_work_ += static_cast<double>(most(plan.work));
  mean_work_ += static_cast<double>(sum(plan.work)) / ranks;
  work_ += static_cast<double>(sum(plan.work));
  const auto bytes = [&](std::int64_t keys) { return static_cast<double>(keys * token_bytes); };
  moved_ += bytes(moved(plan, ranks));
  dense_moved_ += bytes(moved(full, ranks));
  hop_bytes_ += bytes(hops(plan, ranks));
  dense_hop_bytes_ += bytes(hops(full, ranks));
}

void ContextSum::fill(ResultRow& row, std::int64_t unsplit_work) const {
  row.extra["pairs_imbalance"] = mean_pairs_ > 0 ? most_pairs_ / mean_pairs_ : 1;
  row.extra["work_imbalance"] = mean_work_ > 0 ? most_work_ / mean_work_ : 1;
  row.extra["work_ratio"] = work_ / static_cast<double>(std::max<std::int64_t>(1, unsplit_work));
  row.extra["moved_bytes"] = moved_;
  row.extra["moved_share"] = dense_moved_ > 0 ? moved_ / dense_moved_ : 0;
  row.extra["hop_bytes"] = hop_bytes_;
  row.extra["dense_hop_bytes"] = dense_hop_bytes_;
}

GroupContext group_context(Engine& engine, const Inputs& inputs, const MethodRun& run,
                           const PlanRequest& request, std::span<const int> heads,
                           std::span<const ContextSplit> splits) {
  const Geometry& geometry = inputs.geometry();
  GroupContext found;
  std::vector<ContextTally> tallies;
  int rows = 128;
  const std::int64_t chunk = run.method->rows_per_plan == 0 ? geometry.q_len : run.method->rows_per_plan;
  for (std::int64_t begin = 0; begin < geometry.q_len; begin += chunk) {
    check_interrupt();
    const PlanHandle handle =
        engine.plan(*run.method, request, inputs, begin, std::min(begin + chunk, geometry.q_len));
    found.plan_path = handle->plan_path();
    const std::vector<PlanStats> stats = engine.stats(*handle);
    for (const int head : heads) found.stats += stats[static_cast<std::size_t>(head)];
    const SparsePlan plan = handle->to_host();
    if (tallies.empty()) {
      rows = tile_rows(plan);
      for (const ContextSplit& split : splits) tallies.emplace_back(split, rows);
      tallies.emplace_back(ContextSplit(ContextLayout::ring, 1, geometry.kv_len), rows);
    }
    parallel_for(static_cast<std::int64_t>(tallies.size()),
                 [&](std::int64_t n) { tallies[static_cast<std::size_t>(n)].add(plan, heads); });
  }
  found.unsplit_work = tallies.back().cost().work[0];
  for (std::size_t n = 0; n < splits.size(); ++n) {
    found.plans.push_back(tallies[n].cost());
    found.dense.push_back(dense_context_cost(geometry, splits[n], rows, static_cast<int>(heads.size())));
  }
  return found;
}

void ContextRun::finish_layer(std::int64_t token_bytes, const Use& use) {
  GroupContext totals;
  const auto add = [](GroupContext& to, const GroupContext& from) {
    to.stats += from.stats;
    to.unsplit_work += from.unsplit_work;
    to.plan_path = from.plan_path;
  };
  for (const GroupContext& group : layer_) add(totals, group);
  add(totals_, totals);
  for (std::size_t n = 0; n < splits_.size(); ++n) {
    std::vector<ContextCost> plans, dense;
    for (const GroupContext& group : layer_) {
      plans.push_back(group.plans[n]);
      dense.push_back(group.dense[n]);
    }
    ContextSum sum;
    sum.add_layer(plans, dense, splits_[n].ranks(), token_bytes);
    model_[n].add_layer(plans, dense, splits_[n].ranks(), token_bytes);
    use(splits_[n], sum, totals);
  }
  layer_.clear();
}

void ContextRun::finish(const Use& use) const {
  for (std::size_t n = 0; n < splits_.size(); ++n) use(splits_[n], model_[n], totals_);
}

}  // namespace anchor::recall
