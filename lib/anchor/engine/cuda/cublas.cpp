#include "anchor/engine/cuda/cublas.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include "anchor/base/dtype.hpp"
#include "anchor/base/error.hpp"
#include "anchor/engine/cuda/inputs.hpp"
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

constexpr int type_f32 = 0;
constexpr int side = 8192;

const SharedLibrary& cublas() {
  static const SharedLibrary library("libcublas.so.13", "CUBLAS_LIB");
  return library;
}

}  // namespace

std::optional<double> cublas_matmul_tflops(kernels::Element element, const kernels::Stream& stream) {
  const SharedLibrary& library = cublas();
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

struct CublasGemm::State {
  Handle handle = nullptr;
  Gemm* gemm = nullptr;
};

CublasGemm::CublasGemm(const kernels::Stream& stream) : state_(std::make_unique<State>()) {
  const SharedLibrary& library = cublas();
  if (!library.found()) fail("cuBLAS: {}", library.reason());
  auto* const create = library.symbol<Create>("cublasCreate_v2");
  auto* const set_stream = library.symbol<SetStream>("cublasSetStream_v2");
  state_->gemm = library.symbol<Gemm>("cublasGemmEx");
  if (!create || !set_stream || !state_->gemm || create(&state_->handle) != success ||
      set_stream(state_->handle, stream.handle()) != success) {
    fail("cuBLAS cannot be used on this device");
  }
}

CublasGemm::~CublasGemm() {
  if (state_->handle) cublas().symbol<Destroy>("cublasDestroy_v2")(state_->handle);
}

void CublasGemm::run(std::int64_t rows, std::int64_t columns, std::int64_t depth, const void* a,
                     const void* b, float* c, bool accumulate) const {
  // Column by column, as cuBLAS counts, this is c^T = b a^T.
  const float one = 1, beta = accumulate ? 1 : 0;
  const auto m = static_cast<int>(columns), n = static_cast<int>(rows), k = static_cast<int>(depth);
  if (state_->gemm(state_->handle, transpose, no_transpose, m, n, k, &one, b, type_bf16, k, a, type_bf16, k,
                   &beta, c, type_f32, m, compute_f32, default_algorithm) != success) {
    fail("cuBLAS: a product of {} x {} x {} failed", rows, columns, depth);
  }
}

}  // namespace anchor
