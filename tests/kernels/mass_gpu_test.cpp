#include <doctest/doctest.h>

#include <numeric>
#include <tuple>

#include "anchor/kernels/mass.hpp"
#include "anchor/mass/mass_map.hpp"
#include "support/close.hpp"
#include "support/gpu/device_inputs.hpp"
#include "support/random.hpp"

using namespace anchor;
using namespace anchor::test;
using kernels::Path;

namespace {

/// A float array that a kernel must fill, with poison in it and behind it.
class Output {
 public:
  Output(std::int64_t count, const kernels::Stream& stream)
      : count_(static_cast<std::size_t>(count)), buffer_((count_ + spare) * sizeof(float)) {
    buffer_.fill(0xff, stream);
  }
  float* data() const { return buffer_.data<float>(); }
  std::vector<float> values(const kernels::Stream& stream) const {
    std::vector<float> all(count_ + spare);
    buffer_.download(all.data(), buffer_.bytes(), stream);
    for (std::size_t i = count_; i < all.size(); ++i) CHECK(std::isnan(all[i]));
    all.resize(count_);
    return all;
  }

 private:
  static constexpr std::size_t spare = 32;
  std::size_t count_;
  kernels::DeviceBuffer buffer_;
};

/// Random inputs in a 16-bit type on the device, and the same numbers on the host.
struct Problem {
  Problem(DType dtype, const Geometry& geometry, unsigned seed, const kernels::Stream& stream)
      : inputs(rounded(dtype, random_inputs(geometry, seed))), device(inputs.view(), dtype, stream) {}
  RandomInputs inputs;
  DeviceInputs device;

 private:
  static RandomInputs rounded(DType dtype, RandomInputs inputs) {
    round_to(dtype, inputs.q);
    round_to(dtype, inputs.k);
    return inputs;
  }
};

/// What both passes take.
template <class Params>
Params params_of(const Problem& problem) {
  Params params;
  params.shape = problem.device.shape;
  params.q = problem.device.q.data();
  params.k = problem.device.k.data();
  params.stride_q_head = problem.device.stride_q_head;
  params.stride_kv_head = problem.device.stride_kv_head;
  params.stride_q_token = params.stride_kv_token = params.shape.head_dim;
  return params;
}

struct RowStats {
  std::vector<float> lse, max, anchor_lse, anchor_max;
};

RowStats device_row_stats(const Problem& problem, std::int64_t group, std::int64_t init, std::int64_t local,
                          Path path, const kernels::Stream& stream) {
  const std::int64_t rows = problem.device.shape.q_heads * problem.device.shape.q_len;
  const Output lse(rows, stream), max(rows, stream), anchor_lse(rows, stream), anchor_max(rows, stream);
  auto params = params_of<kernels::RowStatsParams>(problem);
  params.lse = lse.data();
  params.max = max.data();
  params.anchor_group = group;
  params.anchor_init = init;
  params.anchor_local = local;
  params.anchor_lse = anchor_lse.data();
  params.anchor_max = anchor_max.data();
  kernels::row_stats(params, stream, path);
  return {lse.values(stream), max.values(stream), anchor_lse.values(stream), anchor_max.values(stream)};
}

/// The same from the definition, in double.
RowStats reference_row_stats(const AttentionInputs& in, std::int64_t group, std::int64_t init,
                             std::int64_t local) {
  const Geometry& g = in.geometry;
  RowStats stats;
  for (int h = 0; h < g.q_heads; ++h) {
    for (std::int64_t i = 0; i < g.q_len; ++i) {
      const std::int64_t local_begin = group > 0 ? (g.q_start + i) / group * group - local : 0;
      double max = -std::numeric_limits<double>::infinity(), anchor_max = max, sum = 0, anchor_sum = 0;
      for (std::int64_t j = 0; j < g.visible(i); ++j) {
        double score = 0;
        for (int c = 0; c < g.head_dim; ++c)
          score += double{in.q_row(h, i)[c]} * double{in.keys(h)[j * g.head_dim + c]};
        score *= g.softmax_scale;
        max = std::max(max, score);
        sum += std::exp(score);
        if (j >= init && j < local_begin) continue;
        anchor_max = std::max(anchor_max, score);
        anchor_sum += std::exp(score);
      }
      stats.lse.push_back(static_cast<float>(std::log(sum)));
      stats.max.push_back(static_cast<float>(max));
      stats.anchor_lse.push_back(static_cast<float>(std::log(anchor_sum)));
      stats.anchor_max.push_back(static_cast<float>(anchor_max));
    }
  }
  return stats;
}

struct Masses {
  std::vector<float> columns, blocks;
};

Masses device_mass(const Problem& problem, const std::vector<float>& lse, const MassGranularity& grain,
                   Path path, const kernels::Stream& stream) {
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

/// The paths that this device has for a head dimension.
std::vector<Path> paths(int dim) {
  const bool hopper = kernels::device_info(kernels::current_device()).major == 9;
  return hopper && dim <= 128 ? std::vector{Path::sm80, Path::sm90} : std::vector{Path::sm80};
}

// Scores are float sums of up to 256 products of size about 1; sums of weights add relative errors of 1e-7
// each.
constexpr double tolerance = 2e-5;

}  // namespace

TEST_CASE("row statistics equal the definition, dense and over the anchor region") {
  const kernels::Stream stream;
  unsigned seed = 0;
  for (const int dim : {64, 128, 256}) {
    for (const auto& [length, q_start] :
         {std::pair{1, 0}, {63, 0}, {129, 0}, {300, 256}, {700, 0}, {900, 512}}) {
      for (const auto& [group, init, local] :
           {std::tuple{256, 128, 128}, {128, 128, 128}, {64, 16, 16}, {512, 100, 77}}) {
        if (q_start % group != 0) continue;
        ++seed;
        const Problem problem(seed % 2 ? DType::bf16 : DType::f16, square(length, dim, 3, 1, q_start), seed,
                              stream);
        const RowStats expected = reference_row_stats(problem.inputs.view(), group, init, local);
        for (const Path path : paths(dim)) {
          INFO("dim ", dim, " length ", length, " q_start ", q_start, " group ", group, " path ",
               static_cast<int>(path));
          const RowStats actual = device_row_stats(problem, group, init, local, path, stream);
          check_close(actual.lse, expected.lse, tolerance);
          check_close(actual.max, expected.max, tolerance);
          check_close(actual.anchor_lse, expected.anchor_lse, tolerance);
          check_close(actual.anchor_max, expected.anchor_max, tolerance);
          check_close(device_row_stats(problem, 0, 0, 0, path, stream).lse, expected.lse, tolerance);
        }
      }
    }
  }
}

TEST_CASE("masses equal the definition, and every row's mass is 1") {
  const kernels::Stream stream;
  unsigned seed = 50;
  for (const int dim : {64, 128, 256}) {
    for (const auto& [length, q_start] :
         {std::pair{1, 0}, {127, 0}, {129, 64}, {700, 100}, {900, 0}, {3000, 2700}}) {
      for (const MassGranularity& grain :
           {MassGranularity{256, 128, 64}, MassGranularity{100, 0, 0}, MassGranularity{0, 64, 32},
            MassGranularity{512, 256, 1024}, MassGranularity{128, 0, 0}}) {
        ++seed;
        const Problem problem(seed % 2 ? DType::bf16 : DType::f16, square(length, dim, 2, 1, q_start), seed,
                              stream);
        std::vector<float> columns, blocks;
        for (int h = 0; h < 2; ++h) {
          const MassMap map = reference_mass_map(problem.inputs.view().head(h), grain);
          columns.insert(columns.end(), map.column_mass.begin(), map.column_mass.end());
          blocks.insert(blocks.end(), map.block_mass.begin(), map.block_mass.end());
        }
        for (const Path path : paths(dim)) {
          INFO("dim ", dim, " length ", length, " q_start ", q_start, " group_rows ", grain.group_rows,
               " tile_rows ", grain.tile_rows, " path ", static_cast<int>(path));
          const RowStats rows = device_row_stats(problem, 0, 0, 0, path, stream);
          const Masses actual = device_mass(problem, rows.lse, grain, path, stream);
          check_close(actual.columns, columns, tolerance);
          check_close(actual.blocks, blocks, tolerance);
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
