#include "anchor/engine/cublas_cuda.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include "anchor/base/dtype.hpp"
#include "anchor/engine/cuda_inputs.hpp"
#include "anchor/engine/shared_library.hpp"

namespace anchor {
namespace {

// The declarations of cublas_v2.h that are needed; the enumerators' values are part of its ABI.
using Handle = struct cublasContext*;
constexpr int success = 0, no_transpose = 0, transpose = 1;
constexpr int type_f16 = 2, type_bf16 = 14, compute_f32 = 68, default_algorithm = -1;
using Create = int(Handle*);
using Destroy = int(Handle);
using SetStream = int(Handle, CUstream_st*);
using Gemm = int(Handle, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int,
                 const void*, void*, int, int, int, int);

constexpr int side = 8192;

}  // namespace

std::optional<double> cublas_matmul_tflops(kernels::Element element, const kernels::Stream& stream) {
  static const SharedLibrary library("libcublas.so.13", "CUBLAS_LIB");
  const auto create = library.symbol<Create>("cublasCreate_v2");
  const auto destroy = library.symbol<Destroy>("cublasDestroy_v2");
  const auto set_stream = library.symbol<SetStream>("cublasSetStream_v2");
  const auto gemm = library.symbol<Gemm>("cublasGemmEx");
  Handle handle = nullptr;
  if (!create || !destroy || !set_stream || !gemm || create(&handle) != success) return {};

  const int type = element == kernels::Element::bf16 ? type_bf16 : type_f16;
  std::vector<std::uint16_t> values(static_cast<std::size_t>(side) * side);
  std::minstd_rand random(1);  // zeros would draw less power and run faster
  for (std::uint16_t& value : values) {
    const float x = static_cast<float>(random() % 2001) / 1000 - 1;
    value = element == kernels::Element::bf16 ? float_to_bf16(x) : float_to_f16(x);
  }
  const std::size_t bytes = values.size() * sizeof(std::uint16_t);
  kernels::DeviceBuffer a(bytes), b(bytes), c(bytes);
  a.upload(values.data(), bytes, stream);
  std::reverse(values.begin(), values.end());
  b.upload(values.data(), bytes, stream);

  const float one = 1, zero = 0;
  std::vector<double> milliseconds;
  bool ok = set_stream(handle, stream.handle()) == success;
  kernels::Event start, end;
  for (int run = 0; ok && run < 13; ++run) {
    start.record(stream);
    ok = gemm(handle, transpose, no_transpose, side, side, side, &one, a.data(), type, side, b.data(), type,
              side, &zero, c.data(), type, side, compute_f32, default_algorithm) == success;
    end.record(stream);
    if (run >= 3) milliseconds.push_back(end.milliseconds_since(start));
  }
  stream.synchronize();
  destroy(handle);
  if (!ok) return {};
  std::nth_element(milliseconds.begin(), milliseconds.begin() + 5, milliseconds.end());
  return 2. * side * side * side / (milliseconds[5] * 1e9);
}

}  // namespace anchor
