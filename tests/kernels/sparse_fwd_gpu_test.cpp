#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "anchor/attention/reference.hpp"
#include "anchor/kernels/launch.hpp"
#include "support/close.hpp"
#include "support/gpu/device_inputs.hpp"
#include "support/gpu/tolerance.hpp"
#include "support/random.hpp"

using namespace anchor;
using namespace anchor::test;

namespace {

/// The paths that this device has for a type and head dimension.
std::vector<kernels::Path> paths(DType dtype, int head_dim) {
  std::vector<kernels::Path> found;
  kernels::SparseFwdParams params;
  params.shape.element = element_of(dtype);
  params.shape.head_dim = head_dim;
  params.shape.q_len = params.shape.kv_len = 1;
  for (const kernels::Path path : {kernels::Path::sm90, kernels::Path::sm80})
    if (!kernels::unsupported(params, kernels::device_info(kernels::current_device()), path))
      found.push_back(path);
  return found;
}

RandomInputs rounded_inputs(const Geometry& geometry, DType dtype, unsigned seed) {
  RandomInputs inputs = random_inputs(geometry, seed);
  round_to(dtype, inputs.q);
  round_to(dtype, inputs.k);
  round_to(dtype, inputs.v);
  return inputs;
}

/// Both outputs and lse of every path against the float64 reference.
void check_plan(const AttentionInputs& inputs, const SparsePlan& plan, DType dtype) {
  const AttentionResult expected = reference_attention(inputs, plan);
  const Errors baseline = errors(rounded_weights_attention(inputs, plan, dtype), expected.out);
  // Few elements make the baseline's error a matter of luck: half a unit of the weights bounds it from above.
  const double floor =
      inputs.geometry.q_heads * inputs.geometry.q_len < 64 ? (dtype == DType::bf16 ? 0x1p-8 : 0x1p-11) : 1e-6;
  for (const kernels::Path path : paths(dtype, inputs.geometry.head_dim)) {
    CAPTURE(static_cast<int>(path));
    const AttentionResult actual = device_attention(inputs, plan, dtype, path);
    const Errors e = errors(actual.out, expected.out);
    CHECK(e.worst <= 2 * baseline.worst + floor);
    CHECK(e.rms <= 2 * baseline.rms + floor);
    check_close(actual.lse, expected.lse, 2e-5);

    std::vector<float> rounded = actual.out;
    round_to(dtype, rounded);
    const AttentionResult native = device_attention(inputs, plan, dtype, path, /*out_f32=*/false);
    check_close(native.out, rounded, 0);
    check_close(native.lse, actual.lse, 0);
  }
}

void check_random_plan(const Geometry& geometry, int q_tile, int kv_tile, int tiles_per_row, DType dtype,
                       unsigned seed) {
  CAPTURE(geometry.q_len);
  CAPTURE(geometry.kv_len);
  CAPTURE(geometry.q_heads);
  CAPTURE(geometry.head_dim);
  CAPTURE(q_tile);
  CAPTURE(kv_tile);
  CAPTURE(tiles_per_row);
  const RandomInputs inputs = rounded_inputs(geometry, dtype, seed);
  check_plan(inputs.view(), random_plan(inputs.geometry, q_tile, kv_tile, tiles_per_row, seed), dtype);
}

/// Blocks at any alignment and columns, dealt to plan rows 2n and 2n + 1 of a head: all to both, each to one
/// of them, to one or both, to both but much to the first row, or to the second row alone.
SparsePlan paired_plan(const Geometry& geometry, int q_tile, int kv_tile, int tiles_per_row, unsigned seed) {
  std::mt19937 rng(seed);
  SparsePlan plan{.geometry = geometry, .q_tile = q_tile, .kv_tile = kv_tile, .tiles_per_row = tiles_per_row};
  constexpr unsigned takers[][4] = {{3, 3, 3, 3}, {1, 2, 1, 2}, {1, 2, 3, 3}, {1, 1, 1, 3}, {2, 2, 2, 2}};
  for (std::int64_t row = 0, pair = 0; row < plan.rows(); ++pair) {
    const std::int64_t g = row % plan.groups(), members = std::min<std::int64_t>(2, plan.groups() - g);
    struct Entry {
      std::int32_t start;
      bool block;
      unsigned taker;
    };
    std::vector<Entry> entries;
    for (std::int64_t j = 0; j < plan.group_end(g + members - 1);) {
      const unsigned roll = rng() % 8, taker = takers[(seed + pair) % 5][rng() % 4];
      if (roll < 6) entries.push_back({static_cast<std::int32_t>(j), roll == 0, taker});
      j += roll == 0 ? kv_tile : 1;
    }
    for (std::int64_t n = 0; n < members; ++n, ++row) {
      for (const Entry& entry : entries)
        if ((entry.taker >> n & 1) && entry.start < plan.group_end(g + n))
          (entry.block ? plan.blocks : plan.columns).items.push_back(entry.start);
      plan.blocks.end_row();
      plan.columns.end_row();
    }
  }
  return plan;
}

/// A random plan for every pack of query heads, with tiles so short that the heads fill 128 rows.
SparsePlan packed_plan(const Geometry& geometry, int packed_heads, int kv_tile, unsigned seed) {
  Geometry packs = geometry;
  packs.q_heads /= packed_heads;
  const SparsePlan one = random_plan(packs, 128 / packed_heads, kv_tile, 1, seed);
  SparsePlan plan = one;
  plan.geometry = geometry;
  plan.packed_heads = packed_heads;
  plan.blocks = plan.columns = {};
  for (int head = 0; head < geometry.q_heads; ++head)
    for (std::int64_t g = 0; g < one.groups(); ++g) {
      const std::int64_t row = head / packed_heads * one.groups() + g;
      plan.blocks.items.insert(plan.blocks.items.end(), one.blocks[row].begin(), one.blocks[row].end());
      plan.columns.items.insert(plan.columns.items.end(), one.columns[row].begin(), one.columns[row].end());
      plan.blocks.end_row();
      plan.columns.end_row();
    }
  return plan;
}

constexpr DType kTypes[] = {DType::bf16, DType::f16};
constexpr int kDims[] = {64, 128, 256};

}  // namespace

TEST_CASE("dense plans of every length match the reference") {
  for (const DType dtype : kTypes)
    for (const int dim : kDims)
      for (const std::int64_t length : {1, 2, 63, 64, 65, 127, 128, 129, 255, 257, 640, 1000}) {
        CAPTURE(length);
        CAPTURE(dim);
        const RandomInputs inputs = rounded_inputs(square(length, dim, 2, 1), dtype, 3);
        check_plan(inputs.view(), dense_plan(inputs.geometry), dtype);
      }
}

TEST_CASE("random blocks and columns match the reference for any tiling") {
  for (const DType dtype : kTypes)
    for (const int dim : kDims) {
      for (const std::int64_t length : {1, 127, 129, 700})
        check_random_plan(square(length, dim), 128, 128, 1, dtype, 11);
      check_random_plan(square(900, dim), 128, 128, 3, dtype, 12);
      check_random_plan(square(900, dim), 128, 64, 2, dtype, 13);
      check_random_plan(square(900, dim), 64, 32, 1, dtype, 14);
      check_random_plan(square(300, dim), 1, 16, 1, dtype, 15);
      check_random_plan(square(500, dim), 100, 48, 3, dtype, 16);
      check_random_plan(square(1500, dim), 256, 200, 2, dtype, 17);
    }
}

TEST_CASE("plan rows of 64 queries match the reference whatever two of them have in common") {
  for (const DType dtype : kTypes)
    for (const int dim : {64, 128}) {
      CAPTURE(dim);
      const auto check = [&](const Geometry& geometry, int q_tile, int kv_tile, int tiles_per_row,
                             unsigned seed) {
        CAPTURE(geometry.q_len);
        CAPTURE(seed);
        const RandomInputs inputs = rounded_inputs(geometry, dtype, seed);
        check_plan(inputs.view(), paired_plan(inputs.geometry, q_tile, kv_tile, tiles_per_row, seed), dtype);
      };
      for (const std::int64_t length : {1, 64, 65, 129, 700})
        for (unsigned seed = 0; seed < 5; ++seed) check(square(length, dim, 2, 1), 64, 32, 1, seed);
      check(square(1300, dim, 4, 2), 64, 64, 1, 0);
      check(square(1300, dim, 2, 2), 16, 48, 4, 1);
      check(square(1200, dim, 2, 1, 530), 64, 64, 1, 2);
      check(square(1200, dim, 2, 1, 1199), 32, 32, 2, 3);
    }
}

TEST_CASE("heads with equal lists match the reference") {
  for (const DType dtype : kTypes)
    for (const int dim : {64, 128})
      for (const int packed : {2, 4, 8}) {
        CAPTURE(dim);
        CAPTURE(packed);
        for (const std::int64_t length : {1, 64, 130, 500}) {
          const RandomInputs inputs = rounded_inputs(square(length, dim, 16, 2), dtype, 5);
          check_plan(inputs.view(), packed_plan(inputs.geometry, packed, 32, 6), dtype);
        }
        const RandomInputs late = rounded_inputs(square(900, dim, 8, 1, 333), dtype, 7);
        check_plan(late.view(), packed_plan(late.geometry, packed, 128, 8), dtype);
      }
}

TEST_CASE("grouped queries read their own KV head") {
  const int heads[][2] = {{2, 2}, {4, 2}, {4, 1}, {8, 1}, {9, 3}, {16, 2}};
  for (const auto& [q_heads, kv_heads] : heads)
    for (const int dim : kDims)
      check_random_plan(square(400, dim, q_heads, kv_heads), 128, 128, 2, DType::bf16,
                        static_cast<unsigned>(q_heads));
}

TEST_CASE("queries that start late, and more keys than queries can see, match the reference") {
  for (const int dim : kDims) {
    check_random_plan(square(1000, dim, 2, 1, 700), 128, 128, 1, DType::bf16, 21);
    check_random_plan(square(1000, dim, 2, 1, 999), 128, 64, 1, DType::bf16, 22);
    Geometry early = square(1000, dim, 2, 1, 300);
    early.q_len = 200;
    check_random_plan(early, 128, 128, 2, DType::bf16, 23);
  }
}

TEST_CASE("column counts of every residue, and no columns at all, match the reference") {
  for (const int columns : {0, 1, 2, 15, 16, 17, 63, 64, 65, 126, 127, 128, 129, 255, 256, 257, 384}) {
    CAPTURE(columns);
    const RandomInputs inputs = rounded_inputs(square(1024, 128, 2, 1), DType::bf16, 31);
    SparsePlan plan{.geometry = inputs.geometry, .q_tile = 128, .kv_tile = 128, .tiles_per_row = 1};
    for (std::int64_t row = 0; row < plan.rows(); ++row) {
      const auto own = static_cast<std::int32_t>(row % plan.groups() * 128);
      plan.blocks.items.push_back(own);
      for (std::int32_t n = 0, j = static_cast<std::int32_t>(row % 3); n < columns && j < own;
           ++n, j += 1 + (n % 3))
        plan.columns.items.push_back(j);
      plan.blocks.end_row();
      plan.columns.end_row();
    }
    check_plan(inputs.view(), plan, DType::bf16);
  }
}

TEST_CASE("rows without keys give zeros and minus infinity") {
  for (const int dim : kDims) {
    const RandomInputs inputs = rounded_inputs(square(600, dim, 2, 1), DType::bf16, 41);
    SparsePlan plan{.geometry = inputs.geometry};
    for (std::int64_t row = 0; row < plan.rows(); ++row) {
      if (row % 3 == 1)
        plan.columns.items.push_back(static_cast<std::int32_t>(row % plan.groups() * 128 + 40));
      plan.blocks.end_row();
      plan.columns.end_row();
    }
    check_plan(inputs.view(), plan, DType::bf16);
  }
}

TEST_CASE("windows are exact to the token") {
  for (const int dim : kDims) {
    const RandomInputs inputs = rounded_inputs(square(900, dim, 2, 1), DType::bf16, 51);
    const std::vector<SparsePlan::Window> windows{
        {4, {128, 300}, 900}, {0, {1, 2}, 900}, {100, {77, 1000}, 600}, {0, {300, 300}, 0}};
    for (const SparsePlan::Window& window : windows) {
      SparsePlan plan = dense_plan(inputs.geometry);
      plan.window = window;
      check_plan(inputs.view(), plan, DType::bf16);
    }
  }
}

TEST_CASE("duplicates weigh twice in the output and once in lse") {
  for (const int dim : kDims) {
    const RandomInputs inputs = rounded_inputs(square(700, dim, 2, 1), DType::bf16, 61);
    SparsePlan plan = random_plan(inputs.geometry, 128, 64, 2, 62);
    for (std::int64_t row = 0; row < plan.rows(); ++row) {
      std::vector<std::int32_t> keys(plan.columns[row].begin(), plan.columns[row].end());
      for (const std::int32_t start : plan.blocks[row])
        for (std::int32_t j = start; j < start + plan.block_width(start); ++j) keys.push_back(j);
      std::sort(keys.begin(), keys.end());
      for (std::size_t n = static_cast<std::size_t>(row % 2); n < keys.size() && row % 4 != 3; n += 2)
        plan.dup.items.push_back(keys[n]);
      plan.dup.end_row();
    }
    check_plan(inputs.view(), plan, DType::bf16);
  }
}

TEST_CASE("constant values come out unchanged, whatever the plan") {
  RandomInputs inputs = rounded_inputs(square(800, 128, 4, 2), DType::f16, 71);
  for (float& value : inputs.v) value = 1.5f;
  const SparsePlan plan = random_plan(inputs.geometry, 128, 128, 2, 72);
  for (const kernels::Path path : paths(DType::f16, 128))
    check_close(device_attention(inputs.view(), plan, DType::f16, path).out,
                std::vector<float>(inputs.q.size(), 1.5f), 2e-4);
}

TEST_CASE("unsupported launches say why") {
  const kernels::DeviceInfo device = kernels::device_info(kernels::current_device());
  kernels::SparseFwdParams params;
  params.shape.q_len = params.shape.kv_len = 8;
  params.shape.head_dim = 72;
  CHECK(kernels::unsupported(params, device) != nullptr);
  params.shape.head_dim = 64;
  params.stride_kv_token = 65;
  CHECK(std::string(kernels::unsupported(params, device)) == "rows must be 16-byte aligned");
  params.stride_kv_token = 64;
  params.shape.q_heads = 3;
  params.shape.kv_heads = 2;
  CHECK(std::string(kernels::unsupported(params, device)) == "kv_heads must divide q_heads");
}

TEST_CASE("keys that a tile does not list count through their blocks' means, and lse does not notice") {
  struct Tiling {
    int q_tile, kv_tile;
  };
  for (const DType dtype : kTypes)
    for (const int dim : kDims)
      for (const Tiling& t :
           {Tiling{128, 128}, Tiling{32, 128}, Tiling{64, 64}, Tiling{100, 48}, Tiling{256, 32}}) {
        CAPTURE(dim);
        CAPTURE(t.q_tile);
        const RandomInputs inputs = rounded_inputs(square(1100, dim, 4, 2, 130), dtype, 31);
        SparsePlan plan{.geometry = inputs.geometry, .q_tile = t.q_tile, .kv_tile = t.kv_tile};
        std::mt19937 rng(7);
        for (std::int64_t row = 0; row < plan.rows(); ++row) {
          const std::int64_t g = row % plan.groups(), first = inputs.geometry.q_start + g * t.q_tile;
          for (std::int64_t start = 0; start < plan.group_end(g); start += t.kv_tile) {
            const auto roll = rng() % 8;
            if (start + t.kv_tile > first || roll < 2) {
              plan.blocks.items.push_back(static_cast<std::int32_t>(start));
            } else if (roll < 5) {  // single keys; all of the block's in the end
              for (std::int64_t j = start; j < start + t.kv_tile; ++j)
                if (roll == 4 || rng() % 3 == 0) plan.columns.items.push_back(static_cast<std::int32_t>(j));
            }
          }
          plan.blocks.end_row();
          plan.columns.end_row();
        }
        const AttentionResult plain = reference_attention(inputs.view(), plan);
        plan.mean_correction = true;
        REQUIRE(validate(plan) == "");
        const AttentionResult expected = reference_attention(inputs.view(), plan);
        REQUIRE(errors(plain.out, expected.out).rms > 0.02);
        // Weights and mean values are rounded to the element type; |v| stays below 5.
        const double unit = dtype == DType::bf16 ? 0x1p-9 : 0x1p-12;
        for (const kernels::Path path : paths(dtype, dim)) {
          const AttentionResult actual = device_attention(inputs.view(), plan, dtype, path);
          const Errors e = errors(actual.out, expected.out);
          CHECK(e.worst <= 2 * unit * 5);
          CHECK(e.rms <= 2 * unit);
          check_close(actual.lse, plain.lse, 2e-5);
          const Errors native =
              errors(device_attention(inputs.view(), plan, dtype, path, false).out, expected.out);
          CHECK(native.worst <= 4 * unit * 5);
        }
      }
}
