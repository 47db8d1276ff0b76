#include "anchor/model/row_ops.hpp"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

// Rows of one piece of work: two activations of 256 x 1536 floats stay in a core's second-level cache, and
// the GEMM's packing of the weights is spread over enough rows.
constexpr std::int64_t row_block = 256;

using Row = Eigen::Map<Eigen::ArrayXf>;
using ConstRow = Eigen::Map<const Eigen::ArrayXf>;

}  // namespace

void for_row_blocks(std::int64_t rows,
                    const std::function<void(std::int64_t begin, std::int64_t count)>& body) {
  parallel_for((rows + row_block - 1) / row_block,
               [&](std::int64_t b) { body(b * row_block, std::min(row_block, rows - b * row_block)); });
}

void rms_norm(std::int64_t rows, const float* x, std::span<const float> weight, double eps, float* out) {
  const auto width = static_cast<std::int64_t>(weight.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    const ConstRow row(x + r * width, width);
    const float scale = 1.0f / std::sqrt(row.square().mean() + static_cast<float>(eps));
    Row(out + r * width, width) = row * scale * ConstRow(weight.data(), width);
  }
}

void add_bias(std::int64_t rows, std::span<const float> bias, float* x) {
  const auto width = static_cast<std::int64_t>(bias.size());
  for (std::int64_t r = 0; width > 0 && r < rows; ++r)
    Row(x + r * width, width) += ConstRow(bias.data(), width);
}

void rotate(const float* in, const float* cos, const float* sin, std::int64_t half, std::int64_t dim,
            float* out) {
  for (std::int64_t i = 0; i < half; ++i) {
    out[i] = in[i] * cos[i] - in[i + half] * sin[i];
    out[i + half] = in[i + half] * cos[i] + in[i] * sin[i];
  }
  std::copy(in + 2 * half, in + dim, out + 2 * half);
}

void gate(Activation activation, std::int64_t rows, std::int64_t width, float* gate_up) {
  for (std::int64_t r = 0; r < rows; ++r) {
    Row x(gate_up + r * 2 * width, width);
    const ConstRow up(x.data() + width, width);
    if (activation == Activation::silu) {
      x = x / (1 + (-x).exp()) * up;
    } else {
      constexpr float root_2_by_pi = 0.7978845608028654f;  // GELU's tanh form (arXiv 1606.08415)
      x = 0.5f * x * (1 + (root_2_by_pi * (x + 0.044715f * x.cube())).tanh()) * up;
    }
  }
}

bool all_finite(std::span<const float> values) {
  // Zero times NaN or infinity is NaN.
  return (ConstRow(values.data(), static_cast<std::int64_t>(values.size())) * 0.0f).sum() == 0.0f;
}

}  // namespace anchor
