#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "anchor/attention/reference.hpp"
#include "support/close.hpp"
#include "support/gpu/anchor_problem.hpp"
#include "support/gpu/device_inputs.hpp"
#include "support/gpu/tolerance.hpp"
#include "support/random.hpp"

using namespace anchor;
using namespace anchor::test;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Planning and attention in one: its lists against the definition, its output against the reference under
/// these lists.
void check_forward(const Geometry& geometry, DType dtype, const AnchorSetting& setting, double theta,
                   unsigned seed) {
  CAPTURE(geometry.q_len);
  CAPTURE(geometry.q_start);
  CAPTURE(geometry.q_heads);
  CAPTURE(geometry.head_dim);
  CAPTURE(setting.step);
  CAPTURE(setting.v4);
  CAPTURE(theta);
  RandomInputs inputs = random_inputs(geometry, seed);
  round_to(dtype, inputs.q);
  round_to(dtype, inputs.k);
  round_to(dtype, inputs.v);
  const std::vector<double> thetas(static_cast<std::size_t>(geometry.q_heads), theta);
  const AnchorResult actual = device_plan(inputs.view(), dtype, setting, thetas, AnchorRun::forward);
  CHECK(actual.plan.blocks == cpu_plan(inputs.view(), setting, thetas).blocks);
  REQUIRE(validate(actual.plan) == "");
  const std::vector<double> critical = reference_critical(inputs.view(), setting);
  std::int64_t wrong = 0;
  for (std::int64_t row = 0; row < actual.plan.rows(); ++row) {
    const auto keys = selected(actual.plan, row);
    for (std::int64_t j = 0; j < geometry.kv_len; ++j) {
      const double t = critical[static_cast<std::size_t>(row * geometry.kv_len + j)];
      if (!(std::abs(t - theta) <= critical_tolerance))
        wrong += std::binary_search(keys.begin(), keys.end(), j) != (t <= theta);
    }
  }
  CHECK(wrong == 0);

  const AttentionResult expected = reference_attention(inputs.view(), actual.plan);
  std::vector<float> rounded = rounded_weights_attention(inputs.view(), actual.plan, dtype);
  round_to(dtype, rounded);
  const Errors baseline = errors(rounded, expected.out), e = errors(actual.attention.out, expected.out);
  // The first pass's output is rounded too, which is half a unit of its last place.
  const double unit = dtype == DType::bf16 ? 0x1p-8 : 0x1p-11;
  CHECK(e.worst <= 2 * baseline.worst + (geometry.q_len < 64 ? 4 * unit : unit));
  CHECK(e.rms <= 2 * baseline.rms + (geometry.q_len < 64 ? unit : 1e-6));
  check_close(actual.attention.lse, expected.lse, 2e-5);
}

}  // namespace

TEST_CASE("planning and attention in one give the plan's attention") {
  for (const DType dtype : {DType::bf16, DType::f16})
    for (const int dim : {64, 128}) {
      if (kernels::AnchorParams p; true) {
        p.shape.element = element_of(dtype);
        p.shape.head_dim = dim;
        p.shape.kv_len = 1;
        if (kernels::unsupported(p, kernels::device_info(kernels::current_device()), kernels::Path::sm90))
          continue;
      }
      unsigned seed = 41;
      for (const int step : {1, 2, 3, 16})
        for (const std::int64_t length : {std::int64_t{1}, std::int64_t{127}, std::int64_t{128 * step + 1},
                                          std::int64_t{384 * step + 77}})
          if (length < 3000)
            for (const double theta : {3.5, infinity, -infinity})
              check_forward(square(length, dim, 2, 1), dtype, {128, step}, theta, seed++);
      check_forward(square(1500, dim, 9, 3), dtype, {128, 1}, 3.6, seed++);
      check_forward(square(1500, dim, 8, 1), dtype, {128, 4}, 3.4, seed++);
      check_forward(square(1000, dim, 2, 1, 512), dtype, {128, 2}, 3.5, seed++);
      check_forward(square(1000, dim, 2, 1, 896), dtype, {128, 1}, 3.5, seed++);
      for (const bool dense_tail : {true, false})
        for (const double theta : {3.5, infinity})
          check_forward(square(1100, dim, 2, 1), dtype, {128, 2, true, dense_tail}, theta, seed++);
    }
}
