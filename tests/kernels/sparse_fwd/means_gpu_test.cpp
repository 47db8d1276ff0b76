#include <doctest/doctest.h>

#include <random>

#include "anchor/attention/reference.hpp"
#include "support/close.hpp"
#include "support/gpu/check_attention.hpp"
#include "support/gpu/device_inputs.hpp"
#include "support/gpu/paths.hpp"
#include "support/gpu/tolerance.hpp"

using namespace anchor;
using namespace anchor::test;

TEST_CASE("keys that a tile does not list count through their blocks' means, and lse does not notice") {
  struct Tiling {
    int q_tile, kv_tile;
    std::int64_t window;  // of the layer
  };
  for (const DType dtype : kTypes)
    for (const int dim : kDims)
      for (const Tiling& t : {Tiling{128, 128, 0}, Tiling{32, 128, 0}, Tiling{64, 64, 0}, Tiling{100, 48, 0},
                              Tiling{256, 32, 0}, Tiling{128, 128, 500}, Tiling{100, 48, 333}}) {
        CAPTURE(dim);
        CAPTURE(t.q_tile);
        CAPTURE(t.window);
        RandomInputs inputs = rounded_inputs(square(1100, dim, 4, 2, 130), dtype, 31);
        inputs.geometry.sliding_window = t.window;
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
        for (const kernels::Path path : paths<kernels::SparseFwdParams>(dtype, dim)) {
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
