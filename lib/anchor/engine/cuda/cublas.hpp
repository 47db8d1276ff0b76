#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "anchor/kernels/device.hpp"
#include "anchor/kernels/params.hpp"

namespace anchor {

/// Rate of an 8192 x 8192 x 8192 matrix product on random numbers through cuBLAS, in TFLOP/s: the median of
/// ten runs after three untimed ones. What "share of the device's peak" refers to. Nothing where cuBLAS is
/// not found (it is opened at run time, shared_library.hpp).
std::optional<double> cublas_matmul_tflops(kernels::Element element, const kernels::Stream& stream);

/// Matrix products through cuBLAS, which is opened at run time; a data error says where it was looked for.
class CublasGemm {
 public:
  explicit CublasGemm(const kernels::Stream& stream);
  ~CublasGemm();

  /// c = a b^T (+ c, if `accumulate`): a [rows, depth] and b [columns, depth] in bf16, c [rows, columns] in
  /// float32, all row by row without gaps, sums in float32. Asynchronous.
  void run(std::int64_t rows, std::int64_t columns, std::int64_t depth, const void* a, const void* b,
           float* c, bool accumulate) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace anchor
