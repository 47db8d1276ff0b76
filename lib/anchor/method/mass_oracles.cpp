#include "anchor/base/parallel.hpp"
#include "anchor/method/anchor_windows.hpp"
#include "anchor/method/block_plan.hpp"
#include "anchor/method/method.hpp"
#include "anchor/method/order.hpp"
#include "anchor/method/param_specs.hpp"

// Oracles that keep the blocks, or the stripes, with the most exact attention mass: the best that any method
// of that granularity can do. Two QK passes; not methods to run.
namespace anchor {
namespace {

BlockShape shape_of(const Geometry& geometry, const Params& params) {
  const auto block = static_cast<int>(params.integer("block"));
  return block_shape(geometry, block, block);
}

/// Per tile, blocks enter by mass, largest first (the diagonal before all if it is forced), while the mass
/// already kept is below the target share of the tile's: that share is a block's critical value. The first
/// block of every tile is always kept.
BlockKnobs critical_share(const BlockShape& shape, const MassMap& mass, bool force_diagonal) {
  BlockKnobs knobs(shape, false);
  parallel_for(shape.tiles(), [&](std::int64_t tile) {
    const auto* begin = mass.block_mass.data() + tile * mass.blocks();
    std::vector<float> row(begin, begin + shape.causal_blocks(tile));
    double total = 0, kept = 0;
    for (const float m : row) total += static_cast<double>(m);
    const auto keep = [&](std::size_t block, float critical) {
      knobs.row(tile)[block] = critical;
      kept += static_cast<double>(row[block]);
    };
    const std::size_t diagonal = row.size() - 1;
    if (force_diagonal) keep(diagonal, knobs.always());
    bool first = !force_diagonal;
    for (const std::int32_t n : by_score(row)) {
      const auto block = static_cast<std::size_t>(n);
      if (force_diagonal && block == diagonal) continue;
      keep(block, first ? knobs.always() : above(kept / total));
      first = false;
    }
  });
  return knobs;
}

bool forces_diagonal(const Params& params) { return params.integer("force_diagonal") != 0; }

SparsePlan plan_block_oracle(const AttentionInputs& inputs, const PlanRequest& request) {
  require_square("block-oracle", inputs.geometry);
  const BlockShape shape = shape_of(inputs.geometry, request.params);
  return plan_blocks(inputs.geometry, shape, [&](int head) {
    const MassMap mass = cpu_mass_map(inputs.head(head), shape.granularity());
    return kept_blocks(critical_share(shape, mass, forces_diagonal(request.params)),
                       request.knob("mass", head));
  });
}

AnchorWindows stripe_windows(const Geometry& geometry, const Params& params) {
  return {geometry, params.integer("block"), params.integer("step"), false, false};
}

/// One candidate column of a group, with the mass that its rows give to it.
struct Stripe {
  std::int32_t group, column;
  float mass;
  float critical;  ///< kept iff critical <= the target recall
};

struct Stripes {
  std::vector<Stripe> items;  ///< by group, then column
  double forced_mass = 0;     ///< of initial block and local windows
};

/// Over the whole head, stripes enter by mass, largest first, while the head's recall is below the target.
Stripes critical_stripes(const AnchorWindows& windows, const MassMap& mass) {
  Stripes stripes;
  const auto rows = static_cast<double>(mass.geometry.q_len);
  stripes.forced_mass = rows;
  std::vector<float> masses;
  for (std::int64_t g = 0; g < mass.groups(); ++g) {
    const KeyRange keys = windows.candidates(g);
    for (std::int64_t j = keys.begin; j < keys.end; ++j) {
      const float m = mass.column_row(g)[j];
      stripes.items.push_back({static_cast<std::int32_t>(g), static_cast<std::int32_t>(j), m, 0});
      stripes.forced_mass -= static_cast<double>(m);
      masses.push_back(m);
    }
  }
  double kept = stripes.forced_mass;
  for (const std::int32_t n : by_score(masses)) {
    stripes.items[static_cast<std::size_t>(n)].critical = above(kept / rows);
    kept += static_cast<double>(masses[static_cast<std::size_t>(n)]);
  }
  return stripes;
}

SparsePlan plan_stripe_oracle(const AttentionInputs& inputs, const PlanRequest& request) {
  const Geometry& geometry = inputs.geometry;
  require_square("stripe-oracle", geometry);
  const AnchorWindows windows = stripe_windows(geometry, request.params);
  SparsePlan plan{.geometry = geometry,
                  .q_tile = static_cast<int>(windows.b),
                  .kv_tile = static_cast<int>(windows.b),
                  .tiles_per_row = static_cast<int>(windows.step)};
  for (int head = 0; head < geometry.q_heads; ++head) {
    const MassMap mass = cpu_mass_map(inputs.head(head), {.group_rows = windows.group});
    const Stripes stripes = critical_stripes(windows, mass);
    auto stripe = stripes.items.begin();
    for (std::int64_t g = 0; g < plan.groups(); ++g) {
      const std::int64_t end = plan.group_end(g);
      const KeyRange hole = windows.hole(g);
      append_run(plan, 0, hole.size() > 0 ? hole.begin : end, end);
      if (hole.size() > 0) append_run(plan, hole.end, end, end);
      for (; stripe != stripes.items.end() && stripe->group == g; ++stripe) {
        if (static_cast<double>(stripe->critical) <= request.knob("mass", head))
          plan.columns.items.push_back(stripe->column);
      }
      plan.blocks.end_row();
      plan.columns.end_row();
    }
  }
  return plan;
}

CriticalItems critical_stripe_oracle(const AttentionInputs& inputs, int, const Params& params,
                                     const MassMap& mass) {
  const Geometry& geometry = inputs.geometry;
  require_square("stripe-oracle", geometry);
  const AnchorWindows windows = stripe_windows(geometry, params);
  const Stripes stripes = critical_stripes(windows, mass);
  CriticalItems items{.forced_pairs = geometry.causal_pairs(),
                      .forced_mass = stripes.forced_mass,
                      .causal_pairs = geometry.causal_pairs(),
                      .query_rows = geometry.q_len};
  for (const Stripe& stripe : stripes.items) {
    const std::int64_t begin = stripe.group * windows.group;
    const std::int64_t end = std::min(begin + windows.group, geometry.q_len);
    const auto pairs = static_cast<std::int32_t>(geometry.rows_that_see(stripe.column, begin, end));
    items.knob.push_back(stripe.critical);
    items.pairs.push_back(pairs);
    items.mass.push_back(stripe.mass);
    items.place(begin, end, stripe.column);
    items.forced_pairs -= pairs;
  }
  return items;
}

}  // namespace

Method block_oracle_method() {
  return {.name = "block-oracle",
          .title =
              "Oracle: per tile, the fewest blocks that hold a share of the exact mass; the diagonal block "
              "is forced "
              "(force_diagonal=0: not)",
          .knob = "mass",
          .params = {real_param("mass", 0.95, 0, 1, "share of every tile's softmax mass"),
                     block_param("block", 128, "query rows per tile and keys per block"),
                     integer_param("force_diagonal", 1, 0, 1, "1: the diagonal block is always kept")},
          .plan_cpu = plan_block_oracle,
          .granularity = [](const Params& params,
                            const Geometry& g) { return shape_of(g, params).granularity(); },
          .critical_cpu =
              [](const AttentionInputs& inputs, int, const Params& params, const MassMap& mass) {
                require_square("block-oracle", inputs.geometry);
                return critical_blocks(
                    critical_share(shape_of(inputs.geometry, params), mass, forces_diagonal(params)), mass);
              }};
}

Method stripe_oracle_method() {
  return {.name = "stripe-oracle",
          .title =
              "Oracle: over a head, the fewest stripes that reach a mean recall beside what is forced: the "
              "initial "
              "block and the local window",
          .knob = "mass",
          .params = {real_param("mass", 0.95, 0, 1, "mean mass recall of the head"),
                     block_param("block", 128, "rows of the initial block and of the local window's reach"),
                     block_param("step", 16, "blocks per group; a group shares its stripes")},
          .plan_cpu = plan_stripe_oracle,
          .granularity =
              [](const Params& params, const Geometry&) {
                return MassGranularity{.group_rows = params.integer("block") * params.integer("step")};
              },
          .critical_cpu = critical_stripe_oracle};
}

}  // namespace anchor
