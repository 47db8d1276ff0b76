#pragma once

#include <cmath>
#include <random>

#include "anchor/attention/attention.hpp"
#include "anchor/plan/sparse_plan.hpp"

namespace anchor::test {

/// Random q, k, v that own their memory. Scores have a standard deviation of about `sharpness`.
struct RandomInputs {
  Geometry geometry;
  std::vector<float> q, k, v;

  AttentionInputs view() const {
    return {geometry, q.data(), k.data(), v.data(), geometry.q_len * geometry.head_dim};
  }
};

inline RandomInputs random_inputs(Geometry geometry, unsigned seed = 1, float sharpness = 2) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  geometry.softmax_scale = 1 / std::sqrt(static_cast<double>(geometry.head_dim));
  RandomInputs inputs{geometry, {}, {}, {}};
  const auto fill = [&](std::vector<float>& values, std::int64_t count, float scale) {
    values.resize(static_cast<std::size_t>(count));
    for (float& value : values) value = scale * normal(rng);
  };
  fill(inputs.q, geometry.q_heads * geometry.q_len * geometry.head_dim, sharpness);
  fill(inputs.k, geometry.kv_heads * geometry.kv_len * geometry.head_dim, 1);
  fill(inputs.v, geometry.kv_heads * geometry.kv_len * geometry.head_dim, 1);
  return inputs;
}

/// A geometry whose last query sees the last key.
inline Geometry square(std::int64_t length, int dim = 64, int q_heads = 1, int kv_heads = 1,
                       std::int64_t q_start = 0) {
  return {.q_heads = q_heads,
          .kv_heads = kv_heads,
          .q_len = length - q_start,
          .kv_len = length,
          .q_start = q_start,
          .head_dim = dim};
}

/// A random valid plan: every row keeps its first query's own key, plus blocks at any alignment and columns.
inline SparsePlan random_plan(const Geometry& geometry, int q_tile, int kv_tile, int tiles_per_row,
                              unsigned seed) {
  std::mt19937 rng(seed);
  SparsePlan plan{.geometry = geometry, .q_tile = q_tile, .kv_tile = kv_tile, .tiles_per_row = tiles_per_row};
  for (std::int64_t row = 0; row < plan.rows(); ++row) {
    const std::int64_t g = row % plan.groups();
    const std::int64_t own = std::min(geometry.q_start + g * plan.group_rows(), geometry.kv_len - 1);
    const std::int64_t end = plan.group_end(g);
    bool sees = false;
    for (std::int64_t j = 0; j < end;) {
      const bool must = !sees && j == own;
      const auto roll = rng() % 16;
      if (roll == 0) {
        plan.blocks.items.push_back(static_cast<std::int32_t>(j));
        sees = sees || j <= own;
        j += kv_tile;
      } else {
        if (roll < 4 || must) {
          plan.columns.items.push_back(static_cast<std::int32_t>(j));
          sees = sees || j <= own;
        }
        ++j;
      }
    }
    plan.blocks.end_row();
    plan.columns.end_row();
  }
  return plan;
}

}  // namespace anchor::test
