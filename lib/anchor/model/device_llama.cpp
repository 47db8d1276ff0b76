#include "anchor/model/device_llama.hpp"

#include "anchor/base/error.hpp"

namespace anchor {

#ifndef ANCHOR_HAVE_CUDA
std::unique_ptr<DeviceLlama> make_cuda_llama(const LlamaModel&, int device) {
  fail("device cuda:{}: this build has no CUDA kernels (it was configured without nvcc); use --device cpu",
       device);
}
#endif

}  // namespace anchor
