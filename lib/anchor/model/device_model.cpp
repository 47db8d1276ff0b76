#include "anchor/model/device_model.hpp"

#include "anchor/base/error.hpp"
#include "anchor/engine/devices.hpp"

namespace anchor {

WeightMemory parse_weight_memory(const std::string& name) {
  if (name == "auto") return WeightMemory::automatic;
  if (name == "resident") return WeightMemory::resident;
  if (name == "stream") return WeightMemory::streamed;
  fail_usage("weights are kept auto, resident or stream, not \"{}\"", name);
}

std::unique_ptr<ModelRunner> make_runner(const LanguageModel& model, const std::string& device,
                                         WeightMemory memory) {
  if (const std::optional<int> cuda = cuda_device(device)) return make_cuda_model(model, *cuda, memory);
  if (memory != WeightMemory::automatic) fail_usage("{}", weights_need_cuda);
  return make_cpu_runner(model);
}

#ifndef ANCHOR_HAVE_CUDA
std::unique_ptr<DeviceModel> make_cuda_model(const LanguageModel&, int device, WeightMemory) {
  fail("device cuda:{}: this build has no CUDA kernels (it was configured without nvcc); use --device cpu",
       device);
}
#endif

}  // namespace anchor
