#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include "support/close.hpp"
#include "support/gpu/mass_problem.hpp"
#include "support/gpu/paths.hpp"

using namespace anchor;
using namespace anchor::test;

namespace {

/// The same from the definition, in double.
RowStats reference_row_stats(const AttentionInputs& in, std::int64_t group, std::int64_t init,
                             std::int64_t local) {
  const Geometry& g = in.geometry;
  RowStats stats;
  for (int h = 0; h < g.q_heads; ++h) {
    for (std::int64_t i = 0; i < g.q_len; ++i) {
      const std::int64_t local_begin = group > 0 ? (g.q_start + i) / group * group - local : 0;
      double max = -std::numeric_limits<double>::infinity(), anchor_max = max, sum = 0, anchor_sum = 0;
      for (std::int64_t j = g.first_visible(i); j < g.visible(i); ++j) {
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

}  // namespace

TEST_CASE("row statistics equal the definition, dense and over the anchor region") {
  const kernels::Stream stream;
  unsigned seed = 0;
  for (const int dim : {64, 128, 256}) {
    for (const auto& [length, q_start, window] : {std::tuple{1, 0, 0},
                                                  {63, 0, 0},
                                                  {129, 0, 0},
                                                  {300, 256, 0},
                                                  {700, 0, 0},
                                                  {900, 512, 0},
                                                  {129, 0, 1},
                                                  {300, 256, 90},
                                                  {700, 0, 150},
                                                  {900, 512, 640}}) {
      for (const auto& [group, init, local] :
           {std::tuple{256, 128, 128}, {128, 128, 128}, {64, 16, 16}, {512, 100, 77}}) {
        if (q_start % group != 0) continue;
        ++seed;
        Geometry geometry = square(length, dim, 3, 1, q_start);
        geometry.sliding_window = window;
        const Problem problem(seed % 2 ? DType::bf16 : DType::f16, geometry, seed, stream);
        const RowStats expected = reference_row_stats(problem.inputs.view(), group, init, local);
        for (const kernels::Path path : paths<kernels::MassParams>(DType::bf16, dim)) {
          INFO("dim ", dim, " length ", length, " q_start ", q_start, " window ", window, " group ", group,
               " path ", static_cast<int>(path));
          const RowStats actual = device_row_stats(problem, group, init, local, path, stream);
          check_close(actual.lse, expected.lse, mass_tolerance);
          check_close(actual.max, expected.max, mass_tolerance);
          check_close(actual.anchor_lse, expected.anchor_lse, mass_tolerance);
          check_close(actual.anchor_max, expected.anchor_max, mass_tolerance);
          check_close(device_row_stats(problem, 0, 0, 0, path, stream).lse, expected.lse, mass_tolerance);
        }
      }
    }
  }
}
