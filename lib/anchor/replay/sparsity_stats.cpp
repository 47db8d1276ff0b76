#include "anchor/replay/sparsity_stats.hpp"

#include <algorithm>

#include "anchor/plan/plan_stats.hpp"

namespace anchor {
namespace {

double share(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::vector<double> density_by_position(const SparsePlan& plan, int head) {
  const std::int64_t groups = plan.groups(),
                     ranges = std::min<std::int64_t>(SparsityStats::positions, groups);
  std::vector<PlanStats> sums(static_cast<std::size_t>(ranges));
  for (std::int64_t g = 0; g < groups; ++g)
    sums[static_cast<std::size_t>(g * ranges / groups)] += plan_stats(plan, head, g);
  std::vector<double> densities;
  for (const PlanStats& sum : sums) densities.push_back(sum.density());
  return densities;
}

std::int64_t common(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  std::int64_t count = 0;
  for (auto x = a.begin(), y = b.begin(); x != a.end() && y != b.end();) {
    if (*x < *y) {
      ++x;
    } else if (*y < *x) {
      ++y;
    } else {
      ++count, ++x, ++y;
    }
  }
  return count;
}

std::optional<double> stripe_persistence(const SparsePlan& plan, int head) {
  std::int64_t kept = 0, all = 0;
  for (std::int64_t g = 0; g + 1 < plan.groups(); ++g) {
    const auto row = plan.columns[head * plan.groups() + g];
    const auto next = plan.columns[head * plan.groups() + g + 1];
    kept += common(row, next);
    all += static_cast<std::int64_t>(row.size());
  }
  return all == 0 ? std::nullopt : std::optional(share(kept, all));
}

/// Pairs of the union of all heads' columns, as if every head listed it.
std::optional<double> shared_stripe_density(const SparsePlan& plan) {
  if (plan.columns.items.empty()) return std::nullopt;
  const Geometry& g = plan.geometry;
  std::int64_t pairs = 0;
  for (std::int64_t group = 0; group < plan.groups(); ++group) {
    std::vector<std::int32_t> all;
    for (int head = 0; head < g.q_heads; ++head) {
      const auto row = plan.columns[head * plan.groups() + group];
      all.insert(all.end(), row.begin(), row.end());
    }
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    const std::int64_t begin = group * plan.group_rows(), end = std::min(begin + plan.group_rows(), g.q_len);
    for (const std::int32_t column : all) pairs += g.rows_that_see(column, begin, end);
  }
  return share(pairs, g.causal_pairs());
}

RowMaxPlaces places(const RowMaxima& maxima) {
  RowMaxPlaces places;
  const double one = 1 / static_cast<double>(maxima.all.size());
  for (std::size_t n = 0; n < maxima.all.size(); ++n) {
    if (maxima.region[n] < maxima.all[n])
      places.elsewhere += one;
    else if (maxima.local[n] < maxima.region[n])
      places.initial += one;
    else
      places.local += one;
  }
  return places;
}

}  // namespace

std::vector<SparsityStats> sparsity_stats(Engine& engine, const Inputs& inputs, const SparsePlan& plan,
                                          std::int64_t block, std::int64_t group) {
  const Geometry& g = plan.geometry;
  const std::optional<double> shared = shared_stripe_density(plan);
  std::vector<SparsityStats> heads;
  for (int head = 0; head < g.q_heads; ++head) {
    const MassMap map = engine.mass(inputs, head, {.group_rows = g.q_len});
    heads.push_back({.density_by_position = density_by_position(plan, head),
                     .stripe_persistence = stripe_persistence(plan, head),
                     .shared_stripe_density = shared,
                     .sink_share = static_cast<double>(map.column_mass[0]) / static_cast<double>(g.q_len),
                     .row_max = places(engine.row_maxima(inputs, head, block, group))});
  }
  return heads;
}

std::vector<SparsityStats> sparsity_stats(Engine& engine, const Inputs& inputs, const Method& method,
                                          const PlanRequest& request) {
  const auto parameter = [&](const char* name, std::int64_t otherwise) {
    return request.params.values().contains(name) ? request.params.integer(name) : otherwise;
  };
  const std::int64_t block = parameter("block", 128);
  const std::int64_t group = block * parameter("step", 1);
  const SparsePlan plan = engine.plan(method, request, inputs, 0, inputs.geometry().q_len)->to_host();
  return sparsity_stats(engine, inputs, plan, block, group);
}

}  // namespace anchor
