#include <cuda_bf16.h>

#include "anchor/kernels/model.hpp"
#include "check.hpp"

namespace anchor::kernels {
namespace {

constexpr int threads = 256;

// A block per row.
__global__ void gather_kernel(const __nv_bfloat16* in, const std::int32_t* rows, std::int64_t width,
                              __nv_bfloat16* out) {
  const __nv_bfloat16* from = in + rows[blockIdx.x] * width;
  __nv_bfloat16* to = out + blockIdx.x * width;
  for (std::int64_t i = threadIdx.x; i < width; i += threads) to[i] = from[i];
}

__global__ void add_weighted_kernel(const float* product, const std::int32_t* rows, const float* weights,
                                    std::int64_t width, float* x) {
  const float* from = product + blockIdx.x * width;
  const float weight = weights[blockIdx.x];
  float* to = x + rows[blockIdx.x] * width;
  for (std::int64_t i = threadIdx.x; i < width; i += threads) to[i] += weight * from[i];
}

}  // namespace

void gather_rows(const void* in, const std::int32_t* rows, std::int64_t count, std::int64_t width, void* out,
                 const Stream& stream) {
  gather_kernel<<<static_cast<unsigned>(count), threads, 0, stream.handle()>>>(
      static_cast<const __nv_bfloat16*>(in), rows, width, static_cast<__nv_bfloat16*>(out));
  check_launch("gather_rows");
}

void add_weighted_rows(const float* product, const std::int32_t* rows, const float* weights,
                       std::int64_t count, std::int64_t width, float* x, const Stream& stream) {
  add_weighted_kernel<<<static_cast<unsigned>(count), threads, 0, stream.handle()>>>(product, rows, weights,
                                                                                     width, x);
  check_launch("add_weighted_rows");
}

}  // namespace anchor::kernels
