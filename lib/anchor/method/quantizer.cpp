#include "anchor/method/quantizer.hpp"

#include <algorithm>

#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

constexpr std::int64_t keys_at_once = 256;

const LayerCodebook& layer_of(const Codebook& book, int layer, int kv_head, int head_dim) {
  const auto found = book.layers.find(layer);
  if (found == book.layers.end()) fail("the codebook has no layer {}", layer);
  const LayerCodebook& made = found->second;
  if (kv_head >= made.kv_heads)
    fail("the codebook has {} KV heads in layer {}, there is no KV head {}: it is another model's",
         made.kv_heads, layer, kv_head);
  if (made.head_dim != head_dim)
    fail("the codebook has heads of dimension {}, layer {} has {}: it is another model's", made.head_dim,
         layer, head_dim);
  return made;
}

}  // namespace

void see_keys(const float* transposed, const float* keys, std::int64_t count, int dim, float* out) {
  parallel_for((count + keys_at_once - 1) / keys_at_once, [&](std::int64_t block) {
    const std::int64_t first = block * keys_at_once, n = std::min(keys_at_once, count - first);
    matrix_ops().gemm_nt(n, dim, dim, 1, keys + first * dim, dim, transposed, dim, out + first * dim, dim);
  });
}

Quantizer::Quantizer(const Codebook& book, int layer, int kv_head, int head_dim)
    : codes_(book.codes), parts_(book.parts), dim_(head_dim) {
  const LayerCodebook& made = layer_of(book, layer, kv_head, head_dim);
  const std::int64_t d = head_dim;
  centroids_ = made.centroids.data() + kv_head * codes_ * d;
  const float* factor = made.factor.data() + kv_head * d * d;
  transposed_.resize(static_cast<std::size_t>(d * d));
  for (std::int64_t r = 0; r < d; ++r)
    for (std::int64_t c = 0; c < d; ++c) transposed_[static_cast<std::size_t>(c * d + r)] = factor[r * d + c];
  seen_.resize(static_cast<std::size_t>(codes_ * d));
  see_keys(transposed_.data(), centroids_, codes_, dim_, seen_.data());
  const std::int64_t width = d / parts_;
  for (std::int64_t part = 0; part < parts_; ++part) {
    for (std::int64_t n = 0; n < codes_; ++n) {
      const float* z = seen_.data() + n * d + part * width;
      float sum = 0;
      for (std::int64_t c = 0; c < width; ++c) sum += z[c] * z[c];
      half_norm_.push_back(sum / 2);
    }
  }
}

std::vector<std::uint16_t> Quantizer::assign(const float* keys, std::int64_t count) const {
  std::vector<std::uint16_t> ids(static_cast<std::size_t>(count * parts_));
  const std::int64_t d = dim_, width = d / parts_;
  parallel_for((count + keys_at_once - 1) / keys_at_once, [&](std::int64_t block) {
    const std::int64_t first = block * keys_at_once, rows = std::min(keys_at_once, count - first);
    AlignedVector<float> z(static_cast<std::size_t>(rows * d)), near(static_cast<std::size_t>(rows * codes_));
    matrix_ops().gemm_nt(rows, d, d, 1, keys + first * d, d, transposed_.data(), d, z.data(), d);
    for (std::int64_t part = 0; part < parts_; ++part) {
      matrix_ops().gemm_nt(rows, codes_, width, 1, z.data() + part * width, d, seen_.data() + part * width, d,
                           near.data(), codes_);
      const float* half = half_norm_.data() + part * codes_;
      for (std::int64_t r = 0; r < rows; ++r) {
        const float* row = near.data() + r * codes_;
        std::int64_t best = 0;
        for (std::int64_t n = 1; n < codes_; ++n)
          if (row[n] - half[n] > row[best] - half[best]) best = n;
        ids[static_cast<std::size_t>((first + r) * parts_ + part)] = static_cast<std::uint16_t>(best);
      }
    }
  });
  return ids;
}

void Quantizer::tables(const float* queries, std::int64_t rows, AlignedVector<float>& out) const {
  const std::int64_t d = dim_, width = d / parts_;
  out.resize(static_cast<std::size_t>(rows * parts_ * codes_));
  for (std::int64_t part = 0; part < parts_; ++part)
    matrix_ops().gemm_nt(rows, codes_, width, 1, queries + part * width, d, centroids_ + part * width, d,
                         out.data() + part * codes_, parts_ * codes_);
}

}  // namespace anchor
