#include "anchor/method/antidiagonal.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/dtype.hpp"
#include "anchor/base/matrix_ops.hpp"

namespace anchor {
namespace {

/// The tokens of x [rows, dim] as cells of `stride` consecutive tokens, [cells, stride * dim]; each cell
/// backwards if `reversed`. A product of a reversed query cell with a key cell is the sum over the
/// antidiagonal of their scores.
AlignedVector<float> cells(const float* x, std::int64_t rows, std::int64_t dim, std::int64_t stride,
                           bool reversed) {
  AlignedVector<float> out(static_cast<std::size_t>((rows + stride - 1) / stride * stride * dim), 0.f);
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t a = i % stride, place = reversed ? stride - 1 - a : a;
    std::copy_n(x + i * dim, dim, out.data() + (i - a + place) * dim);
  }
  return out;
}

/// How many key cells before its own a query cell sees: those whose last key lies in the window of its first
/// query.
std::int64_t cells_in_window(const Geometry& g, std::int64_t stride) {
  return g.sliding_window > 0 ? (g.sliding_window + stride - 2) / stride : g.q_start + g.q_len;
}

}  // namespace

Antidiagonal::Antidiagonal(const AttentionInputs& head, std::int64_t stride, std::int64_t block,
                           bool official)
    : q_(cells(head.q, head.geometry.q_len, head.geometry.head_dim, stride, true)),
      k_(cells(head.k, head.geometry.visible(head.geometry.q_len - 1), head.geometry.head_dim, stride,
               false)),
      width_(stride * head.geometry.head_dim),
      per_block_(block / stride),
      reach_(cells_in_window(head.geometry, stride)),
      q_cells_((head.geometry.q_len + stride - 1) / stride),
      first_cell_(head.geometry.q_start / stride),
      scale_(static_cast<float>(head.geometry.softmax_scale) / static_cast<float>(stride)),
      official_(official) {}

std::int64_t Antidiagonal::cell_rows(std::int64_t tile) const {
  return std::min(per_block_, q_cells_ - tile * per_block_);
}

std::vector<float> Antidiagonal::block_mass(std::int64_t tile) const {
  const std::int64_t rows = cell_rows(tile), first = first_cell_ + tile * per_block_;
  const std::int64_t before = std::max<std::int64_t>(0, first - reach_);  // cells that no row sees
  const std::int64_t columns = first + rows - before;
  AlignedVector<float> z(static_cast<std::size_t>(rows * columns));
  matrix_ops().gemm_nt(rows, columns, width_, official_ ? 1.f : scale_,
                       q_.data() + tile * per_block_ * width_, width_, k_.data() + before * width_, width_,
                       z.data(), columns);
  if (official_) {
    for (float& x : z) x = round_bf16(x) * scale_;
  }
  std::vector<double> sums(static_cast<std::size_t>(first / per_block_ + 1), 0);
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = z.data() + r * columns;
    const std::int64_t from = std::max<std::int64_t>(0, first + r - reach_) - before;
    const std::int64_t seen = first + r + 1 - before;
    const float max = *std::max_element(row + from, row + seen);
    double sum = 0;
    for (std::int64_t y = from; y < seen; ++y) sum += static_cast<double>(row[y] = std::exp(row[y] - max));
    for (std::int64_t y = from; y < seen; ++y)
      sums[static_cast<std::size_t>((before + y) / per_block_)] += static_cast<double>(row[y]) / sum;
  }
  std::vector<float> mass(sums.begin(), sums.end());
  if (official_) {
    for (float& x : mass) x = round_bf16(x);
  }
  return mass;
}

}  // namespace anchor
