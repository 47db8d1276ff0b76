#pragma once

#include <cstdint>
#include <vector>

namespace anchor {

/// The dense inner loops of attention, mass and model on the CPU: row-major float matrices with row strides
/// (ld, in floats). One thread each; callers split the work. Compiled for x86-64-v3 (AVX2) and v4 (AVX-512);
/// matrix_ops() picks at start-up. The same bits every time from memory that starts on a cache line
/// (base/aligned.hpp). Products a b^T promise more: an entry is one chain of fused multiply-adds over l = 0,
/// 1,
/// ..., k - 1, so that equal keys have equal scores wherever they lie, in every block and on every CPU.
struct MatrixOps {
  const char* isa;

  /// c[m,n] = alpha * a[m,k] b[n,k]^T
  void (*gemm_nt)(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a,
                  std::int64_t lda, const float* b, std::int64_t ldb, float* c, std::int64_t ldc);
  /// The same with sums, scale and results in double.
  void (*gemm_nt_wide)(std::int64_t m, std::int64_t n, std::int64_t k, double alpha, const float* a,
                       std::int64_t lda, const float* b, std::int64_t ldb, double* c, std::int64_t ldc);
  /// c[m,n] += a[m,k] b[n,k]^T, in any order: for models, not for scores
  void (*gemm_nt_add)(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t lda,
                      const float* b, std::int64_t ldb, float* c, std::int64_t ldc);
  /// c[m,n] += a[m,k] b[k,n]
  void (*gemm_nn_add)(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t lda,
                      const float* b, std::int64_t ldb, float* c, std::int64_t ldc);

  /// One step of the running softmax for rows of scores s[rows,cols] (-infinity = masked): raises max[r],
  /// replaces s by exp(s - max), sets sum[r] = sum[r] * shrink[r] + row sum, and reports shrink[r] = exp(old
  /// max - new max). A row that has seen nothing keeps max = -infinity, sum = 0, shrink = 1.
  void (*softmax_step)(std::int64_t rows, std::int64_t cols, float* s, std::int64_t ld, float* max,
                       double* sum, float* shrink);
  /// s[r,c] = exp(s[r,c] - shift[r]); a row whose shift is -infinity becomes 0.
  void (*exp_rows)(std::int64_t rows, std::int64_t cols, float* s, std::int64_t ld, const float* shift);
  /// sums[c] += sum over rows of s[r,c]
  void (*add_columns)(std::int64_t rows, std::int64_t cols, const float* s, std::int64_t ld, float* sums);
};

/// The fastest variant that this CPU runs. Throws a data error naming the missing instruction set below AVX2
/// + FMA.
const MatrixOps& matrix_ops();

/// All variants that this CPU runs.
std::vector<const MatrixOps*> matrix_variants();

}  // namespace anchor
