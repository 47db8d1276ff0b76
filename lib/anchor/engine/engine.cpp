#include "anchor/engine/engine.hpp"

#include <charconv>

#include "anchor/base/error.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "anchor/engine/cuda_engine.hpp"

namespace anchor {

#ifndef ANCHOR_HAVE_CUDA
int cuda_device_count() { return 0; }
std::unique_ptr<Engine> make_cuda_engine(int device) {
  fail("device cuda:{}: this build has no CUDA kernels (it was configured without nvcc); use --device cpu",
       device);
}
#endif

std::unique_ptr<Engine> make_engine(const std::string& device) {
  if (device == "auto") return cuda_device_count() > 0 ? make_cuda_engine(0) : make_cpu_engine();
  if (device == "cpu") return make_cpu_engine();
  if (device == "reference") return make_reference_engine();
  int index = 0;
  if (device != "cuda") {
    const char* end = device.data() + device.size();
    const bool numbered = device.starts_with("cuda:") && device.size() > 5;
    if (!numbered || std::from_chars(device.data() + 5, end, index).ptr != end || index < 0)
      fail_usage("unknown device {}; known: auto, reference, cpu, cuda, cuda:N", device);
  }
#ifdef ANCHOR_HAVE_CUDA
  const int count = cuda_device_count();
  if (count == 0) fail("device {}: no CUDA device (or no driver) on this machine; use --device cpu", device);
  if (index >= count) fail("device {}: this machine has {} CUDA device(s), numbered from 0", device, count);
#endif
  return make_cuda_engine(index);
}

}  // namespace anchor
