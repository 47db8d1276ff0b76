#include <doctest/doctest.h>

#include <numeric>
#include <tuple>

#include "anchor/mass/mass_map.hpp"
#include "support/close.hpp"
#include "support/gpu/mass_problem.hpp"
#include "support/gpu/paths.hpp"

using namespace anchor;
using namespace anchor::test;

namespace {

struct Masses {
  std::vector<float> columns, blocks;
};

Masses device_mass(const Problem& problem, const std::vector<float>& lse, const MassGranularity& grain,
                   kernels::Path path, const kernels::Stream& stream) {
  const kernels::Shape& shape = problem.device.shape;
  const auto cells = [](std::int64_t a, std::int64_t b) { return b > 0 ? (a + b - 1) / b : 0; };
  const Output columns(shape.q_heads * cells(shape.q_len, grain.group_rows) * shape.kv_len, stream);
  const Output blocks(
      shape.q_heads * cells(shape.q_len, grain.tile_rows) * cells(shape.kv_len, grain.block_keys), stream);
  kernels::DeviceBuffer rows(lse.size() * sizeof(float));
  rows.upload(lse.data(), rows.bytes(), stream);
  auto params = params_of<kernels::MassParams>(problem);
  params.lse = rows.data<float>();
  params.group_rows = grain.group_rows;
  params.column_mass = grain.group_rows > 0 ? columns.data() : nullptr;
  params.tile_rows = grain.tile_rows;
  params.block_keys = grain.block_keys;
  params.block_mass = grain.tile_rows > 0 ? blocks.data() : nullptr;
  const Output workspace(static_cast<std::int64_t>(kernels::workspace_bytes(params) / sizeof(float)), stream);
  kernels::attention_mass(params, workspace.data(), stream, path);
  workspace.values(stream);
  return {columns.values(stream), blocks.values(stream)};
}

}  // namespace

TEST_CASE("masses equal the definition, and every row's mass is 1") {
  const kernels::Stream stream;
  unsigned seed = 50;
  for (const int dim : {64, 128, 256}) {
    for (const auto& [length, q_start, window] : {std::tuple{1, 0, 0},
                                                  {127, 0, 0},
                                                  {129, 64, 0},
                                                  {700, 100, 0},
                                                  {900, 0, 0},
                                                  {3000, 2700, 0},
                                                  {129, 0, 1},
                                                  {700, 100, 130},
                                                  {900, 0, 200},
                                                  {3000, 2700, 1000}}) {
      for (const MassGranularity& grain :
           {MassGranularity{256, 128, 64}, MassGranularity{100, 0, 0}, MassGranularity{0, 64, 32},
            MassGranularity{512, 256, 1024}, MassGranularity{128, 0, 0}}) {
        ++seed;
        Geometry geometry = square(length, dim, 2, 1, q_start);
        geometry.sliding_window = window;
        const Problem problem(seed % 2 ? DType::bf16 : DType::f16, geometry, seed, stream);
        std::vector<float> columns, blocks;
        for (int h = 0; h < 2; ++h) {
          const MassMap map = reference_mass_map(problem.inputs.view().head(h), grain);
          columns.insert(columns.end(), map.column_mass.begin(), map.column_mass.end());
          blocks.insert(blocks.end(), map.block_mass.begin(), map.block_mass.end());
        }
        for (const kernels::Path path : paths<kernels::MassParams>(DType::bf16, dim)) {
          INFO("dim ", dim, " length ", length, " q_start ", q_start, " window ", window, " group_rows ",
               grain.group_rows, " tile_rows ", grain.tile_rows, " path ", static_cast<int>(path));
          const RowStats rows = device_row_stats(problem, 0, 0, 0, path, stream);
          const Masses actual = device_mass(problem, rows.lse, grain, path, stream);
          check_close(actual.columns, columns, mass_tolerance);
          check_close(actual.blocks, blocks, mass_tolerance);
          const double mass = 2.0 * static_cast<double>(length - q_start);
          for (const auto* sums : {&actual.columns, &actual.blocks}) {
            const double total = std::accumulate(sums->begin(), sums->end(), 0.0);
            if (!sums->empty()) CHECK(std::abs(total - mass) <= 1e-5 * mass);
          }
          const Masses again = device_mass(problem, rows.lse, grain, path, stream);
          CHECK(again.columns == actual.columns);  // no sum depends on scheduling
          CHECK(again.blocks == actual.blocks);
        }
      }
    }
  }
}

TEST_CASE("mass launches that cannot be run say why") {
  const kernels::DeviceInfo device = kernels::device_info(kernels::current_device());
  kernels::MassParams params;
  params.shape.q_len = params.shape.kv_len = 8;
  params.group_rows = 100;
  float sums = 0;
  params.column_mass = params.block_mass = &sums;
  params.tile_rows = 64;
  params.block_keys = 16;
  CHECK(kernels::unsupported(params, device) != nullptr);  // cells of 64 rows would straddle the groups
  params.column_mass = nullptr;
  CHECK(kernels::unsupported(params, device) == nullptr);
  params.block_keys = 24;
  CHECK(kernels::unsupported(params, device) != nullptr);
  params.shape.element = kernels::Element::f32;
  CHECK(kernels::unsupported(params, device) != nullptr);
  kernels::RowStatsParams rows;
  rows.shape.q_len = rows.shape.kv_len = 8;
  rows.shape.q_start = 100;
  CHECK(kernels::unsupported(rows, device) != nullptr);
  rows.lse = &sums;
  CHECK(kernels::unsupported(rows, device) == nullptr);
  rows.anchor_group = 64;
  CHECK(kernels::unsupported(rows, device) != nullptr);
}
