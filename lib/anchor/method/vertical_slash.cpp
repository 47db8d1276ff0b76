#include <limits>

#include "anchor/base/parallel.hpp"
#include "anchor/method/method.hpp"
#include "anchor/method/order.hpp"
#include "anchor/method/param_specs.hpp"
#include "anchor/method/probe.hpp"

// "MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic Sparse Attention", arXiv
// 2407.02490 (microsoft/MInference), the vertical-slash head; and its fixed budgets on a grid of blocks, as
// FlexPrefill's repository compares with.
namespace anchor {
namespace {

constexpr std::int64_t tile = 64;
constexpr std::int64_t forced_columns = 30, forced_distances = 100;

/// The chosen columns (ascending) and distances i - j (descending) of one head.
struct Lines {
  std::vector<std::int32_t> columns;
  std::vector<std::int64_t> distances;
};

Lines choose(const AttentionInputs& head, const Params& params, double vertical) {
  const std::int64_t n = head.geometry.kv_len;
  const bool official = official_rounding(params);
  Profile profile = probe(head, std::min(params.integer("last"), n),
                          official ? ProbeRounding::scores : ProbeRounding::none);
  for (std::int64_t j = 0; j < std::min(forced_columns, n); ++j)
    profile.columns[static_cast<std::size_t>(j)] = std::numeric_limits<float>::infinity();
  for (std::int64_t t = std::max<std::int64_t>(0, n - forced_distances); t < n; ++t)
    profile.diagonals[static_cast<std::size_t>(t)] = std::numeric_limits<float>::infinity();
  // Below 100 distances the forced ones tie, and distance 0 may lose: only the released code allows that.
  const std::int64_t least = official ? 50 : forced_distances;
  Lines lines{top(profile.columns, std::max(static_cast<std::int64_t>(vertical), forced_columns)), {}};
  for (const std::int32_t t : top(profile.diagonals, std::max(params.integer("slash"), least))) {
    const std::int64_t distance = n - 1 - t;
    if (head.geometry.sliding_window == 0 || distance < head.geometry.sliding_window)
      lines.distances.push_back(distance);
  }
  return lines;
}

/// One plan row: starts of blocks and single columns.
struct Row {
  std::vector<std::int32_t> blocks, columns;
};

/// What the lines cover in the 64 rows that end before position `end`; distances are such that the window
/// does not hide them. A distance covers a run of 64 keys;
/// overlapping or touching runs grow by whole blocks and may overshoot, which is part of the rule.
Row convert(const Lines& lines, std::int64_t end, std::int64_t reach) {
  Row row;
  std::int64_t begin = 0, stop = 0;  // the open run
  auto column = lines.columns.begin();
  const auto close_run = [&] {
    for (; column != lines.columns.end() && *column < stop; ++column) {
      if (*column < begin) row.columns.push_back(*column);
    }
    for (std::int64_t start = begin; start < std::min(stop, reach); start += tile)
      row.blocks.push_back(static_cast<std::int32_t>(start));
  };
  for (const std::int64_t distance : lines.distances) {
    if (distance >= end) continue;
    const std::int64_t x = std::max(end - distance, tile);
    if (stop == 0) {
      begin = x - tile, stop = x;
    } else if (x > stop + tile) {
      close_run();
      begin = x - tile, stop = x;
    } else if (x > stop) {
      stop += tile;
    }
  }
  close_run();  // columns from here on lie in no row's past
  return row;
}

SparsePlan plan_vertical_slash(const AttentionInputs& inputs, const PlanRequest& request) {
  const Geometry& g = inputs.geometry;
  require_square("vertical-slash", g);
  SparsePlan plan{.geometry = g, .q_tile = tile, .kv_tile = tile};
  for (int head = 0; head < g.q_heads; ++head) {
    const Lines lines = choose(inputs.head(head), request.params, request.knob("vertical", head));
    std::vector<Row> rows(static_cast<std::size_t>(plan.groups()));
    parallel_for(plan.groups(), [&](std::int64_t m) {
      rows[static_cast<std::size_t>(m)] = convert(lines, (m + 1) * tile, plan.group_end(m));
    });
    for (const Row& row : rows) {
      plan.blocks.items.insert(plan.blocks.items.end(), row.blocks.begin(), row.blocks.end());
      plan.columns.items.insert(plan.columns.items.end(), row.columns.begin(), row.columns.end());
      plan.blocks.end_row();
      plan.columns.end_row();
    }
  }
  return plan;
}

SparsePlan plan_on_blocks(const AttentionInputs& inputs, const PlanRequest& request) {
  const Geometry& g = inputs.geometry;
  require_square("vertical-slash-blocks", g);
  const std::int64_t b = request.params.integer("block");
  const BlockShape shape = block_shape(g, static_cast<int>(b), static_cast<int>(b));
  const std::int64_t slash = (request.params.integer("slash") + b - 1) / b;
  const auto rounding = official_rounding(request.params) ? ProbeRounding::queries : ProbeRounding::none;
  return plan_blocks(g, shape, [&](int head) {
    const std::int64_t vertical = (static_cast<std::int64_t>(request.knob("vertical", head)) + b - 1) / b;
    if (g.kv_len <= std::min(vertical, slash) * b) return all_blocks(shape);
    const Profile profile = probe(inputs.head(head), std::min(b, g.kv_len), rounding);
    return vertical_slash_blocks(shape, block_sums(profile.columns, b), block_sums(profile.diagonals, b),
                                 vertical, slash);
  });
}

}  // namespace

Method vertical_slash_method() {
  return {
      .name = "vertical-slash",
      .title = "MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic Sparse Attention",
      .arxiv = "2407.02490",
      .knob = "vertical",
      .params = {tokens_param("vertical", 1000, 1, "key columns kept for every row, at least 30"),
                 tokens_param("slash", 6096, 1,
                              "distances kept for every row, at least 100 (rounding=official: 50)"),
                 tokens_param("last", 64, 1, "last queries, which probe for both"),
                 rounding_param("scores in bfloat16")},
      .second_budget = "slash",
      .plan_cpu = plan_vertical_slash};
}

Method vertical_slash_blocks_method() {
  return {.name = "vertical-slash-blocks",
          .title = "FlexPrefill's fixed vertical-slash baseline on a grid of blocks",
          .arxiv = "2502.20766",
          .knob = "vertical",
          .params = {tokens_param("vertical", 8192, 1, "keys in the best columns of blocks"),
                     tokens_param("slash", 8192, 1, "distances in the best diagonals of blocks"),
                     block_param("block", 128, "tile, block, and rows of the probe"),
                     rounding_param("scaled queries and scores in bfloat16")},
          .second_budget = "slash",
          .plan_cpu = plan_on_blocks};
}

}  // namespace anchor
