// Compiled once per instruction set with ANCHOR_ISA = v3 or v4. Eigen's namespace is renamed so that the
// linker never merges an AVX-512 copy of one of its templates into code that runs on a smaller CPU.
#define ANCHOR_CONCAT_(a, b) a##b
#define ANCHOR_CONCAT(a, b) ANCHOR_CONCAT_(a, b)
#define Eigen ANCHOR_CONCAT(Eigen_, ANCHOR_ISA)
#include <immintrin.h>

#include <Eigen/Core>
#include <algorithm>
#include <cstring>
#include <limits>

#include "anchor/base/matrix_ops.hpp"

namespace anchor {
namespace ANCHOR_ISA {

using Stride = Eigen::OuterStride<Eigen::Dynamic>;
using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ConstMap = Eigen::Map<const RowMajor, 0, Stride>;
using Map = Eigen::Map<RowMajor, 0, Stride>;

constexpr float infinity = std::numeric_limits<float>::infinity();

/// Vectors of the instruction set, with the fused product that the compiler may not make by itself
/// (-ffp-contract=off).
#if ANCHOR_ISA_BYTES == 64
inline __m512 all(float x) { return _mm512_set1_ps(x); }
inline __m512d all(double x) { return _mm512_set1_pd(x); }
inline __m512 add_product(__m512 sum, __m512 a, __m512 b) { return _mm512_fmadd_ps(a, b, sum); }
inline __m512d add_product(__m512d sum, __m512d a, __m512d b) { return _mm512_fmadd_pd(a, b, sum); }
#else
inline __m256 all(float x) { return _mm256_set1_ps(x); }
inline __m256d all(double x) { return _mm256_set1_pd(x); }
inline __m256 add_product(__m256 sum, __m256 a, __m256 b) { return _mm256_fmadd_ps(a, b, sum); }
inline __m256d add_product(__m256d sum, __m256d a, __m256d b) { return _mm256_fmadd_pd(a, b, sum); }
#endif

/// Products a b^T in which every entry is one chain of fused multiply-adds over l = 0, 1, ..., k - 1,
/// whatever its place: equal rows of b give equal bits in every column, block and instruction set. (Eigen's
/// products sum in other orders at the edges of a block.) T is the type of sums and results; `most_rows` rows
/// of a meet `vectors` vectors of rows of b at a time, so that the sums stay in registers.
template <class T, int vectors, int most_rows>
class Products {
  static constexpr int bytes = ANCHOR_ISA_BYTES;
  static constexpr int width = bytes / static_cast<int>(sizeof(T));
  static constexpr int columns = vectors * width;                 ///< of a panel
  static constexpr std::int64_t depth = vectors > 2 ? 128 : 256;  ///< of a panel, which stays in cache
  using Vector = decltype(all(T{}));

  /// panel[l, n] = b[n, l] for `count` rows of b; columns beyond them are 0.
  static void pack(const float* b, std::int64_t ldb, std::int64_t count, std::int64_t k, T* panel) {
    std::int64_t n = 0;
    if constexpr (sizeof(T) == sizeof(float)) {
      for (; n + 4 <= count; n += 4) {
        const float* row = b + n * ldb;
        std::int64_t l = 0;
        for (; l + 4 <= k; l += 4) {
          __m128 r0 = _mm_loadu_ps(row + l), r1 = _mm_loadu_ps(row + ldb + l);
          __m128 r2 = _mm_loadu_ps(row + 2 * ldb + l), r3 = _mm_loadu_ps(row + 3 * ldb + l);
          _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
          float* to = panel + l * columns + n;
          _mm_storeu_ps(to, r0);
          _mm_storeu_ps(to + columns, r1);
          _mm_storeu_ps(to + 2 * columns, r2);
          _mm_storeu_ps(to + 3 * columns, r3);
        }
        for (; l < k; ++l)
          for (std::int64_t j = 0; j < 4; ++j) panel[l * columns + n + j] = row[j * ldb + l];
      }
    }
    for (; n < count; ++n)
      for (std::int64_t l = 0; l < k; ++l) panel[l * columns + n] = static_cast<T>(b[n * ldb + l]);
    for (; n < columns; ++n)
      for (std::int64_t l = 0; l < k; ++l) panel[l * columns + n] = 0;
  }

  /// A panel against rows of a, which have the chains of earlier panels in c.
  struct Task {
    std::int64_t k;
    const float* a;
    std::int64_t lda;
    const T* panel;
    T* c;
    std::int64_t ldc, count;  ///< columns of c
    bool first, last;         ///< panel of the chains
    T alpha;
  };

  template <int rows>
  static void panel_rows(const Task& task) {
    Vector sum[rows][vectors] = {};
    T edge[columns] = {};
    for (int r = 0; r < rows && !task.first; ++r) {
      std::copy_n(task.c + r * task.ldc, task.count, edge);
      std::memcpy(sum[r], edge, sizeof edge);
    }
    for (std::int64_t l = 0; l < task.k; ++l) {
      Vector right[vectors];
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v)
        right[v] = *reinterpret_cast<const Vector*>(task.panel + l * columns + v * width);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        const Vector left = all(static_cast<T>(task.a[r * task.lda + l]));
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) sum[r][v] = add_product(sum[r][v], right[v], left);
      }
    }
    for (int r = 0; r < rows; ++r) {
      if (task.last)
        for (Vector& part : sum[r]) part *= all(task.alpha);
      if (task.count == columns) {
        std::memcpy(task.c + r * task.ldc, sum[r], sizeof edge);
      } else {
        std::memcpy(edge, sum[r], sizeof edge);
        std::copy_n(edge, task.count, task.c + r * task.ldc);
      }
    }
  }

  /// panel_rows() of so many rows.
  template <int rows = most_rows>
  static void run_rows(std::int64_t asked, const Task& task) {
    if constexpr (rows > 1) {
      if (asked < rows) return run_rows<rows - 1>(asked, task);
    }
    panel_rows<rows>(task);
  }

 public:
  static void run(std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const float* a, std::int64_t lda,
                  const float* b, std::int64_t ldb, T* c, std::int64_t ldc) {
    alignas(64) T panel[depth * columns];
    for (std::int64_t l = 0; l < k; l += depth) {
      const std::int64_t deep = std::min(depth, k - l);
      for (std::int64_t j = 0; j < n; j += columns) {
        const std::int64_t count = std::min<std::int64_t>(columns, n - j);
        pack(b + j * ldb + l, ldb, count, deep, panel);
        for (std::int64_t i = 0; i < m; i += most_rows) {
          run_rows(m - i, {deep, a + i * lda + l, lda, panel, c + i * ldc + j, ldc, count, l == 0,
                           l + deep == k, alpha});
        }
      }
    }
  }
};

template <class T>
void products(std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const float* a, std::int64_t lda,
              const float* b, std::int64_t ldb, T* c, std::int64_t ldc) {
  constexpr int most_rows = ANCHOR_ISA_BYTES == 64 ? 8 : 6;
  if (m == 1) return Products<T, 8, 1>::run(m, n, k, alpha, a, lda, b, ldb, c, ldc);
  Products<T, 2, most_rows>::run(m, n, k, alpha, a, lda, b, ldb, c, ldc);
}

void gemm_nt(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a, std::int64_t lda,
             const float* b, std::int64_t ldb, float* c, std::int64_t ldc) {
  products<float>(m, n, k, alpha, a, lda, b, ldb, c, ldc);
}

void gemm_nt_wide(std::int64_t m, std::int64_t n, std::int64_t k, double alpha, const float* a,
                  std::int64_t lda, const float* b, std::int64_t ldb, double* c, std::int64_t ldc) {
  products<double>(m, n, k, alpha, a, lda, b, ldb, c, ldc);
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
const MatrixOps ops{"x86-64-" ANCHOR_ISA_NAME,
                    gemm_nt,
                    gemm_nt_wide,
                    gemm_nt_add,
                    gemm_nn_add,
                    softmax_step,
                    exp_rows,
                    add_columns};

}  // namespace ANCHOR_ISA
}  // namespace anchor
