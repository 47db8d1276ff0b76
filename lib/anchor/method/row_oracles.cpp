#include <cmath>
#include <limits>
#include <numeric>

#include "anchor/base/aligned.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/method.hpp"
#include "anchor/method/order.hpp"

// Oracles choose keys for every single query row from its exact scores: a bound for any method at equal
// density, not a method to run.
namespace anchor {
namespace {

/// Picks the keys of one row from its scores (natural units), ascending: indices into them.
using RowRule = std::function<std::vector<std::int32_t>(std::span<const float> scores, double knob)>;

SparsePlan plan_rows(const AttentionInputs& inputs, const PlanRequest& request, const std::string& knob,
                     const RowRule& rule) {
  const Geometry& g = inputs.geometry;
  SparsePlan plan{.geometry = g, .q_tile = 1, .kv_tile = 1};
  constexpr std::int64_t tile = 32;
  const std::int64_t tiles = (g.q_len + tile - 1) / tile;
  std::vector<std::vector<std::int32_t>> kept(static_cast<std::size_t>(g.q_heads * g.q_len));
  parallel_for(g.q_heads * tiles, [&](std::int64_t task) {
    const int head = static_cast<int>(task / tiles);
    const std::int64_t first = task % tiles * tile, rows = std::min(tile, g.q_len - first);
    const std::int64_t from = g.first_visible(first), keys = g.visible(first + rows - 1) - from;
    AlignedVector<float> scores(static_cast<std::size_t>(rows * keys));
    matrix_ops().gemm_nt(rows, keys, g.head_dim, static_cast<float>(g.softmax_scale),
                         inputs.q_row(head, first), g.head_dim, inputs.keys(head) + from * g.head_dim,
                         g.head_dim, scores.data(), keys);
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t begin = g.first_visible(first + r);
      const std::span<const float> row(scores.data() + r * keys + begin - from,
                                       static_cast<std::size_t>(g.visible(first + r) - begin));
      auto& columns = kept[static_cast<std::size_t>(head * g.q_len + first + r)];
      columns = rule(row, request.knob(knob, head));
      for (std::int32_t& column : columns) column += static_cast<std::int32_t>(begin);
    }
  });
  for (auto& row : kept) {
    plan.columns.items.insert(plan.columns.items.end(), row.begin(), row.end());
    plan.columns.end_row();
    plan.blocks.end_row();
    row = {};
  }
  return plan;
}

template <class Keep>
std::vector<std::int32_t> keys_where(std::span<const float> scores, Keep keep) {
  std::vector<std::int32_t> kept;
  for (std::size_t j = 0; j < scores.size(); ++j) {
    if (keep(scores[j])) kept.push_back(static_cast<std::int32_t>(j));
  }
  return kept;
}

std::vector<std::int32_t> largest(std::span<const float> scores, double count) {
  return top(scores, static_cast<std::int64_t>(count));
}

std::vector<std::int32_t> near_maximum(std::span<const float> scores, double theta) {
  const float max = *std::max_element(scores.begin(), scores.end());
  return keys_where(scores, [&](float s) { return s + static_cast<float>(theta) >= max; });
}

/// The fewest keys that hold a share `mass` of the row's softmax, and those tied with the last of them.
std::vector<std::int32_t> cumulative(std::span<const float> scores, double mass) {
  std::vector<float> sorted(scores.begin(), scores.end());
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  std::vector<double> weights;
  weights.reserve(sorted.size());
  for (const float s : sorted)
    weights.push_back(std::exp(static_cast<double>(s) - static_cast<double>(sorted.front())));
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double taken = 0;
  float last = -std::numeric_limits<float>::infinity();
  for (std::size_t n = 0; n < sorted.size(); ++n) {
    taken += weights[n];
    last = sorted[n];
    if (taken >= mass * total) break;
  }
  return keys_where(scores, [&](float s) { return s >= last; });
}

Method row_oracle(std::string name, std::string title, ParamSpec knob, RowRule rule) {
  return {.name = std::move(name),
          .title = std::move(title),
          .knob = knob.name,
          .params = {knob},
          .plan_cpu = [knob = knob.name, rule = std::move(rule)](
                          const AttentionInputs& inputs,
                          const PlanRequest& request) { return plan_rows(inputs, request, knob, rule); },
          .rows_per_plan = 512};
}

constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

Method topk_method() {
  return row_oracle("topk", "Oracle: the k largest scores of every row",
                    {.name = "k",
                     .kind = ParamSpec::Kind::integer,
                     .default_value = 1024.,
                     .minimum = 1,
                     .maximum = 1 << 30,
                     .help = "keys per row"},
                    largest);
}

Method difference_method() {
  return row_oracle("difference", "Oracle: every score within theta of its row's maximum",
                    {.name = "theta",
                     .default_value = 12.,
                     .minimum = 0,
                     .maximum = infinity,
                     .help = "slack below the row maximum, natural-log units"},
                    near_maximum);
}

Method cdf_method() {
  return row_oracle("cdf", "Oracle: the fewest keys that hold a share of every row's mass",
                    {.name = "mass",
                     .default_value = 0.9,
                     .minimum = 0,
                     .maximum = 1,
                     .help = "share of the row's softmax mass"},
                    cumulative);
}

}  // namespace anchor
