// Compiled once per instruction set with ANCHOR_ISA = v3 or v4. Eigen's namespace is renamed so that the
// linker never merges an AVX-512 copy of one of its templates into code that runs on a smaller CPU.
#define ANCHOR_CONCAT_(a, b) a##b
#define ANCHOR_CONCAT(a, b) ANCHOR_CONCAT_(a, b)
#define Eigen ANCHOR_CONCAT(Eigen_, ANCHOR_ISA)
#include <Eigen/Core>
#include <limits>

#include "anchor/base/matrix_ops.hpp"

namespace anchor {
namespace ANCHOR_ISA {

using Stride = Eigen::OuterStride<Eigen::Dynamic>;
using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ConstMap = Eigen::Map<const RowMajor, 0, Stride>;
using Map = Eigen::Map<RowMajor, 0, Stride>;

constexpr float infinity = std::numeric_limits<float>::infinity();

void gemm_nt(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a, std::int64_t lda,
             const float* b, std::int64_t ldb, float* c, std::int64_t ldc) {
  Map(c, m, n, Stride(ldc)).noalias() =
      alpha * (ConstMap(a, m, k, Stride(lda)) * ConstMap(b, n, k, Stride(ldb)).transpose());
}

void gemm_nt_add(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t lda,
                 const float* b, std::int64_t ldb, float* c, std::int64_t ldc) {
  Map(c, m, n, Stride(ldc)).noalias() +=
      ConstMap(a, m, k, Stride(lda)) * ConstMap(b, n, k, Stride(ldb)).transpose();
}

void gemm_nn_add(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t lda,
                 const float* b, std::int64_t ldb, float* c, std::int64_t ldc) {
  Map(c, m, n, Stride(ldc)).noalias() += ConstMap(a, m, k, Stride(lda)) * ConstMap(b, k, n, Stride(ldb));
}

/// exp(x) for x <= 0 (and a little above), within 2 ulp; exactly 0 below -87.3 and for -infinity. Plain
/// arithmetic, so that loops over it vectorise: Eigen's exp does, but not together with the mask.
inline float exp_flush(float x) {
  constexpr float log2e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  constexpr float round = 12582912.f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const float shifted = __builtin_fmaf(x, log2e, round);
  const float n = shifted - round;
  float r = __builtin_fmaf(n, -ln2_high, x);
  r = __builtin_fmaf(n, -ln2_low, r);
  float p = 1.9875691500e-4f;  // Cephes expf
  p = __builtin_fmaf(p, r, 1.3981999507e-3f);
  p = __builtin_fmaf(p, r, 8.3334519073e-3f);
  p = __builtin_fmaf(p, r, 4.1665795894e-2f);
  p = __builtin_fmaf(p, r, 1.6666665459e-1f);
  p = __builtin_fmaf(p, r, 5.0000001201e-1f);
  p = __builtin_fmaf(p, r * r, r) + 1.f;
  const std::int32_t exponent = __builtin_bit_cast(std::int32_t, shifted)
                                << 23;  // n << 23: the rest shifts out
  const float value = __builtin_bit_cast(float, __builtin_bit_cast(std::int32_t, p) + exponent);
  return x < -87.3f ? 0.f : value;
}

float row_max(const float* s, std::int64_t cols) {
  float top = -infinity;
#pragma omp simd reduction(max : top)
  for (std::int64_t c = 0; c < cols; ++c) top = s[c] > top ? s[c] : top;
  return top;
}

/// s = exp(s - shift), and its sum.
float exp_row(float* s, std::int64_t cols, float shift) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < cols; ++c) {
    s[c] = exp_flush(s[c] - shift);
    sum += s[c];
  }
  return sum;
}

void softmax_step(std::int64_t rows, std::int64_t cols, float* s, std::int64_t ld, float* max, double* sum,
                  float* shrink) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const float row_top = row_max(s + r * ld, cols);
    const float top = row_top > max[r] ? row_top : max[r];
    if (top == -infinity) {
      __builtin_memset(s + r * ld, 0, static_cast<std::size_t>(cols) * sizeof(float));
      shrink[r] = 1;
      continue;
    }
    shrink[r] = exp_flush(max[r] - top);
    sum[r] = sum[r] * static_cast<double>(shrink[r]) + static_cast<double>(exp_row(s + r * ld, cols, top));
    max[r] = top;
  }
}

void exp_rows(std::int64_t rows, std::int64_t cols, float* s, std::int64_t ld, const float* shift) {
  for (std::int64_t r = 0; r < rows; ++r) {
    if (shift[r] == -infinity) {
      __builtin_memset(s + r * ld, 0, static_cast<std::size_t>(cols) * sizeof(float));
    } else {
      exp_row(s + r * ld, cols, shift[r]);
    }
  }
}

void add_columns(std::int64_t rows, std::int64_t cols, const float* s, std::int64_t ld, float* sums) {
  for (std::int64_t r = 0; r < rows; ++r) {
#pragma omp simd
    for (std::int64_t c = 0; c < cols; ++c) sums[c] += s[r * ld + c];
  }
}

extern const MatrixOps ops;
const MatrixOps ops{
    "x86-64-" ANCHOR_ISA_NAME, gemm_nt, gemm_nt_add, gemm_nn_add, softmax_step, exp_rows, add_columns};

}  // namespace ANCHOR_ISA
}  // namespace anchor
