#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "anchor/kernels/mass.hpp"
#include "support/gpu/device_inputs.hpp"
#include "support/random.hpp"

namespace anchor::test {

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
  return Params{problem.device.tensors()};
}

/// Of row_stats.
struct RowStats {
  std::vector<float> lse, max, anchor_lse, anchor_max;
};

/// Runs row_stats into poisoned memory.
inline RowStats device_row_stats(const Problem& problem, std::int64_t group, std::int64_t init,
                                 std::int64_t local, kernels::Path path, const kernels::Stream& stream) {
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

// Scores are float sums of up to 256 products of size about 1; sums of weights add relative errors of 1e-7
// each.
constexpr double mass_tolerance = 2e-5;

}  // namespace anchor::test
