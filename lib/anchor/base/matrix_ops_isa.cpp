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
using RowArray = Eigen::Map<Eigen::Array<float, 1, Eigen::Dynamic>>;
using ConstRowArray = Eigen::Map<const Eigen::Array<float, 1, Eigen::Dynamic>>;

constexpr float infinity = std::numeric_limits<float>::infinity();

void gemm_nt(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, const float* a, std::int64_t lda,
             const float* b, std::int64_t ldb, float* c, std::int64_t ldc) {
  Map(c, m, n, Stride(ldc)).noalias() =
      alpha * (ConstMap(a, m, k, Stride(lda)) * ConstMap(b, n, k, Stride(ldb)).transpose());
}

void gemm_nn_add(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t lda,
                 const float* b, std::int64_t ldb, float* c, std::int64_t ldc) {
  Map(c, m, n, Stride(ldc)).noalias() += ConstMap(a, m, k, Stride(lda)) * ConstMap(b, k, n, Stride(ldb));
}

void softmax_step(std::int64_t rows, std::int64_t cols, float* s, std::int64_t ld, float* max, double* sum,
                  float* shrink) {
  for (std::int64_t r = 0; r < rows; ++r) {
    RowArray row(s + r * ld, cols);
    const float row_top = row.maxCoeff();
    const float top = row_top > max[r] ? row_top : max[r];
    if (top == -infinity) {
      row.setZero();
      shrink[r] = 1;
      continue;
    }
    shrink[r] = std::exp(max[r] - top);
    // Eigen's exp clamps its argument, so a masked score needs an exact zero of its own.
    row = (row == -infinity).select(0.f, (row - top).exp());
    sum[r] = sum[r] * static_cast<double>(shrink[r]) + static_cast<double>(row.sum());
    max[r] = top;
  }
}

void exp_rows(std::int64_t rows, std::int64_t cols, float* s, std::int64_t ld, const float* shift) {
  for (std::int64_t r = 0; r < rows; ++r) {
    RowArray row(s + r * ld, cols);
    if (shift[r] == -infinity) {
      row.setZero();
    } else {
      row = (row == -infinity).select(0.f, (row - shift[r]).exp());
    }
  }
}

void add_columns(std::int64_t rows, std::int64_t cols, const float* s, std::int64_t ld, float* sums) {
  RowArray total(sums, cols);
  for (std::int64_t r = 0; r < rows; ++r) total += ConstRowArray(s + r * ld, cols);
}

extern const MatrixOps ops;
const MatrixOps ops{"x86-64-" ANCHOR_ISA_NAME, gemm_nt, gemm_nn_add, softmax_step, exp_rows, add_columns};

}  // namespace ANCHOR_ISA
}  // namespace anchor
