#include "anchor/attention/score_range.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

constexpr double largest_float = std::numeric_limits<float>::max();
constexpr double largest_narrow = 1024;  // float's spacing there is 1.2e-4
constexpr float infinity = std::numeric_limits<float>::infinity();
/// A row's base moves when a score lies so far above it; what it leaves behind weighs exp(-16) at most.
constexpr double most_above = 16;

double norm(const float* x, std::int64_t dim) {
  double sums[4] = {};  // independent, so that they do not wait for each other
  for (std::int64_t c = 0; c < dim; ++c) sums[c % 4] += static_cast<double>(x[c]) * static_cast<double>(x[c]);
  return std::sqrt(sums[0] + sums[1] + sums[2] + sums[3]);
}

/// The largest magnitude among finite elements; the order of floats is that of their bits.
template <class Word>
Word largest_bits(const HostBytes& bytes, Word magnitude) {
  Word largest = 0;
  for (std::size_t n = 0; n < bytes.size(); n += sizeof(Word)) {
    Word word;
    std::memcpy(&word, bytes.data() + n, sizeof word);
    word &= magnitude;
    largest = word > largest ? word : largest;
  }
  return largest;
}

double largest_magnitude(const Tensor& tensor) {
  if (tensor.dtype == DType::f32) {
    const std::uint32_t bits = largest_bits<std::uint32_t>(tensor.bytes, 0x7fffffff);
    return static_cast<double>(__builtin_bit_cast(float, bits));
  }
  const std::uint16_t bits = largest_bits<std::uint16_t>(tensor.bytes, 0x7fff);
  return static_cast<double>(tensor.dtype == DType::bf16 ? bf16_to_float(bits) : f16_to_float(bits));
}

}  // namespace

ScoreRange::ScoreRange(const AttentionInputs& inputs)
    : q_len_(inputs.geometry.q_len),
      bounds_(static_cast<std::size_t>(inputs.geometry.q_heads * inputs.geometry.q_len)) {
  const Geometry& g = inputs.geometry;
  std::vector<double> key_norm(static_cast<std::size_t>(g.kv_heads), 0);  // the largest
  parallel_for(g.kv_heads, [&](std::int64_t head) {
    double& largest = key_norm[static_cast<std::size_t>(head)];
    for (std::int64_t j = 0; j < g.kv_len; ++j)
      largest = std::max(largest, norm(inputs.k + (head * g.kv_len + j) * g.head_dim, g.head_dim));
  });
  parallel_for(g.q_heads, [&](std::int64_t head) {
    const double scale =
        std::abs(g.softmax_scale) * key_norm[static_cast<std::size_t>(g.kv_head(static_cast<int>(head)))];
    for (std::int64_t i = 0; i < g.q_len; ++i) {
      bounds_[static_cast<std::size_t>(head * g.q_len + i)] =
          scale * norm(inputs.q_row(static_cast<int>(head), i), g.head_dim);
    }
  });
}

bool ScoreRange::wide(int head, std::int64_t row) const { return bound(head, row) > largest_narrow; }

void check_scores(const KvGroup& group) {
  const Geometry& g = group.geometry;
  const double coarse = std::abs(g.softmax_scale) * g.head_dim * largest_magnitude(group.q);
  if (coarse * largest_magnitude(group.k) <= largest_float) return;
  const FloatGroup floats(group);
  const AttentionInputs inputs = floats.view();
  const ScoreRange range(inputs);
  for (int head = 0; head < g.q_heads; ++head) {
    for (std::int64_t row = 0; row < g.q_len; ++row) {
      const double bound = range.bound(head, row);
      if (bound > largest_float)
        fail("layer {}, head {}, query {}: scores overflow float (scale * |q| * |k| reaches {:.3g})",
             group.layer, group.first_q_head + head, row, bound);
    }
  }
}

RowBases::RowBases(const AttentionInputs& inputs, const ScoreRange& range, int head, std::int64_t row,
                   std::int64_t rows)
    : inputs_(inputs), head_(head), row_(row), rows_(rows), base_(static_cast<std::size_t>(rows), 0) {
  for (std::int64_t r = 0; r < rows; ++r) {
    wide_.push_back(range.wide(head, row + r));
    if (!wide_.back()) continue;
    base_[static_cast<std::size_t>(r)] = -static_cast<double>(infinity);
    any_ = true;
  }
}

RowBases::RowBases(const AttentionInputs& inputs, const ScoreRange& range, int head, std::int64_t row,
                   std::int64_t rows, const double* lse)
    : RowBases(inputs, range, head, row, rows) {
  for (std::int64_t r = 0; r < rows; ++r)
    if (wide(r)) base_[static_cast<std::size_t>(r)] = lse[r];
}

void RowBases::relate(std::int64_t first_row, const float* keys, std::int64_t count, float* scores,
                      std::int64_t ld, float* max) {
  if (!any_) return;
  const Geometry& g = inputs_.geometry;
  const std::int64_t rows = rows_ - first_row;
  thread_local AlignedVector<double> exact;
  exact.resize(std::max(exact.size(), static_cast<std::size_t>(rows * count)));
  matrix_ops().gemm_nt_wide(rows, count, g.head_dim, g.softmax_scale, inputs_.q_row(head_, row_ + first_row),
                            g.head_dim, keys, g.head_dim, exact.data(), count);
  for (std::int64_t r = first_row; r < rows_; ++r) {
    if (!wide(r)) continue;
    const double* score = exact.data() + (r - first_row) * count;
    float* out = scores + r * ld;
    double& base = base_[static_cast<std::size_t>(r)];
    double top = -static_cast<double>(infinity);
    for (std::int64_t n = 0; n < count; ++n)
      if (out[n] != -infinity) top = std::max(top, score[n]);
    if (top > base + most_above) {
      max[r] = max[r] == -infinity ? -infinity : static_cast<float>(static_cast<double>(max[r]) + base - top);
      base = top;
    }
    for (std::int64_t n = 0; n < count; ++n)
      if (out[n] != -infinity) out[n] = static_cast<float>(score[n] - base);
  }
}

}  // namespace anchor
