#include "anchor/model/device_model.hpp"

#include "anchor/base/error.hpp"

namespace anchor {

#ifndef ANCHOR_HAVE_CUDA
std::unique_ptr<DeviceModel> make_cuda_model(const LanguageModel&, int device) {
  fail("device cuda:{}: this build has no CUDA kernels (it was configured without nvcc); use --device cpu",
       device);
}
#endif

}  // namespace anchor
