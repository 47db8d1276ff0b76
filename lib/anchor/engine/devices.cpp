#include "anchor/engine/devices.hpp"

#include <algorithm>
#include <charconv>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/engine/cpu_engine.hpp"
#include "anchor/engine/cuda/engine.hpp"

namespace anchor {

#ifndef ANCHOR_HAVE_CUDA
int cuda_device_count() { return 0; }
std::unique_ptr<Engine> make_cuda_engine(int device) {
  fail("device cuda:{}: this build has no CUDA kernels (it was configured without nvcc); use --device cpu",
       device);
}
#endif

namespace {

/// The devices that a text like cuda, cuda:1, cuda:0,2 or cuda:all names, ascending.
std::vector<int> cuda_devices(const std::string& device) {
  const int count = cuda_device_count();
  std::vector<int> numbers;
  if (device == "cuda") {
    numbers = {0};
  } else if (device == "cuda:all") {
    for (int n = 0; n < std::max(count, 1); ++n) numbers.push_back(n);
  } else {
    const bool numbered = device.starts_with("cuda:");
    const char *at = device.data() + (numbered ? 5 : 0), *const end = device.data() + device.size();
    while (numbered) {
      int number = -1;
      const auto [after, error] = std::from_chars(at, end, number);
      if (error != std::errc() || number < 0 || (after != end && *after != ',')) break;
      numbers.push_back(number);
      at = after + 1;
      if (after == end) break;
    }
    if (numbers.empty() || at != end + 1)
      fail_usage("unknown device {}; known: auto, reference, cpu, cuda, cuda:N, cuda:N,M, cuda:all", device);
    std::sort(numbers.begin(), numbers.end());
    if (std::adjacent_find(numbers.begin(), numbers.end()) != numbers.end())
      fail_usage("device {} names one device twice", device);
  }
#ifdef ANCHOR_HAVE_CUDA
  if (count == 0) fail("device {}: no CUDA device (or no driver) on this machine; use --device cpu", device);
  if (numbers.back() >= count)
    fail("device {}: this machine has {} CUDA device(s), numbered from 0", device, count);
#endif
  return numbers;
}

}  // namespace

std::optional<int> cuda_device(const std::string& device) {
  if (device == "auto") return cuda_device_count() > 0 ? std::optional(0) : std::nullopt;
  if (device == "cpu" || device == "reference") return std::nullopt;
  const std::vector<int> devices = cuda_devices(device);
  if (devices.size() > 1) fail_usage("device {}: this works on one device", device);
  return devices[0];
}

std::unique_ptr<Engine> make_engine(const std::string& device) {
  if (const std::optional<int> number = cuda_device(device)) return make_cuda_engine(*number);
  return device == "reference" ? make_reference_engine() : make_cpu_engine();
}

std::vector<std::unique_ptr<Engine>> make_engines(const std::string& device, int per_cuda_device,
                                                  int per_cpu) {
  std::vector<std::unique_ptr<Engine>> engines;
  const bool automatic = device == "auto" && cuda_device_count() > 0;
  if (device == "cpu" || (device == "auto" && !automatic)) {
    for (int n = 0; n < per_cpu; ++n) engines.push_back(make_cpu_engine(threads() / per_cpu));
    return engines;
  }
  if (device == "reference") {
    engines.push_back(make_reference_engine());
    return engines;
  }
  for (const int number : cuda_devices(automatic ? "cuda" : device)) {
    for (int n = 0; n < per_cuda_device; ++n) engines.push_back(make_cuda_engine(number));
  }
  return engines;
}

}  // namespace anchor
