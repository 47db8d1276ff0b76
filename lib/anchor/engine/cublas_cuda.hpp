#pragma once

#include <optional>

#include "anchor/kernels/device.hpp"
#include "anchor/kernels/params.hpp"

namespace anchor {

/// Rate of an 8192 x 8192 x 8192 matrix product on random numbers through cuBLAS, in TFLOP/s: the median of
/// ten runs after three untimed ones. What "share of the device's peak" refers to. Nothing where cuBLAS is
/// not found (it is opened at run time, shared_library.hpp).
std::optional<double> cublas_matmul_tflops(kernels::Element element, const kernels::Stream& stream);

}  // namespace anchor
