#pragma once

#include "device/element.cuh"
#include "sm80/sparse_fwd/config.cuh"

namespace anchor::kernels::sm80 {

/// Online softmax over a warp's rows, and their output. Row r of a lane (m tile r / 2, half r % 2) is lane /
/// 4 + 8 r of the warp; a lane holds the columns that it does of every accumulator.
template <Element element, int head_dim>
class Softmax {
  using Config = SparseFwdConfig<head_dim>;

 public:
  static constexpr int m_tiles = Config::Warp::m_tiles, rows = 2 * m_tiles;
  static constexpr int n_tiles = Config::keys / 8, d_tiles = head_dim / 8;
  using Scores = float[m_tiles][n_tiles][4];

  __device__ __forceinline__ explicit Softmax(float softmax_scale) : scale_(softmax_scale * log2e) {
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      reference_[r] = -1e38f;
      sum_[r] = 0;
    }
  }

  /// Raises the rows' references to the largest of these scores. Most tiles raise no row's: then the quad's
  /// maximum and the pass over the output are skipped. The maximum itself is kept exactly, so that the
  /// heaviest weight is 1 and is not rounded.
  __device__ __forceinline__ void raise(const Scores& score) {
    float top[rows];
    bool rises = false;
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      top[r] = -INFINITY;
#pragma unroll
      for (int n = 0; n < n_tiles; ++n)
        top[r] = fmaxf(top[r], fmaxf(score[r / 2][n][r % 2 * 2], score[r / 2][n][r % 2 * 2 + 1]));
      rises |= top[r] * scale_ > reference_[r];
    }
    if (!__any_sync(~0u, rises)) return;
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      const float next = fmaxf(reference_[r], quad_max(top[r]) * scale_);
      const float factor = exp2_approx(reference_[r] - next);
      reference_[r] = next;
      sum_[r] *= factor;
#pragma unroll
      for (int d = 0; d < d_tiles; ++d) {
        out_[r / 2][d][r % 2 * 2] *= factor;
        out_[r / 2][d][r % 2 * 2 + 1] *= factor;
      }
    }
  }

  /// Adds the values of the scored keys, weighted. `values` is where the lane's transposed reads of them
  /// begin.
  __device__ __forceinline__ void add(const Scores& score, unsigned values) {
#pragma unroll
    for (int n = 0; n < n_tiles; n += 2) {
      unsigned weight[m_tiles][4];
#pragma unroll
      for (int r = 0; r < rows; ++r) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float low = exp2_approx(fmaf(score[r / 2][n + half][r % 2 * 2], scale_, -reference_[r]));
          const float high = exp2_approx(fmaf(score[r / 2][n + half][r % 2 * 2 + 1], scale_, -reference_[r]));
          sum_[r] += low + high;
          weight[r / 2][half * 2 + r % 2] = pack2<element>(low, high);
        }
      }
      const unsigned from = values + n * 8 * Config::row_bytes;
#pragma unroll
      for (int d = 0; d < d_tiles; d += 2) {
        unsigned b[4];
        load_matrices_transposed(b, from ^ (d * 16));
#pragma unroll
        for (int m = 0; m < m_tiles; ++m) {
          multiply<element>(out_[m][d], weight[m], b[0], b[1]);
          multiply<element>(out_[m][d + 1], weight[m], b[2], b[3]);
        }
      }
    }
  }

  /// Writes lse[row], natural log, for rows [first, end) of a head.
  __device__ __forceinline__ void write_lse(float* lse, int first, int end) const {
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      const float total = quad_sum(sum_[r]);
      const int lane = threadIdx.x % 32, row = first + lane / 4 + 8 * r;
      if (lane % 4 == 0 && row < end) lse[row] = total > 0 ? ln2 * (reference_[r] + log2f(total)) : -INFINITY;
    }
  }

  __device__ __forceinline__ void write_out(const SparseFwdParams& p, int head, int first, int end) const {
    using Scalar = typename ElementTraits<element>::Type;
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      const int row = first + lane / 4 + 8 * r;
      const float total = quad_sum(sum_[r]);
      const float inverse = total > 0 ? 1 / total : 0;
      if (row >= end) continue;
      const std::int64_t to = head * p.stride_out_head + row * p.stride_out_token + lane % 4 * 2;
#pragma unroll
      for (int d = 0; d < d_tiles; ++d) {
        const float low = out_[r / 2][d][r % 2 * 2] * inverse, high = out_[r / 2][d][r % 2 * 2 + 1] * inverse;
        if (p.out_f32) {
          *reinterpret_cast<float2*>(static_cast<float*>(p.out) + to + d * 8) = {low, high};
        } else {
          *reinterpret_cast<unsigned*>(static_cast<Scalar*>(p.out) + to + d * 8) = pack2<element>(low, high);
        }
      }
    }
  }

 private:
  float scale_;  // of scores, in log2 units
  float out_[m_tiles][d_tiles][4] = {};
  float reference_[rows], sum_[rows];  // exp2(score - reference) is what is added up
};

}  // namespace anchor::kernels::sm80
