#include "anchor/engine/engine.hpp"

#include "anchor/base/error.hpp"
#include "anchor/engine/cpu_engine.hpp"

namespace anchor {

std::unique_ptr<Engine> make_engine(const std::string& device) {
  if (device == "auto" || device == "cpu") return make_cpu_engine();
  if (device == "reference") return make_reference_engine();
  if (device.starts_with("cuda")) fail("device {}: this build has no CUDA engine", device);
  fail_usage("unknown device {}; known: auto, reference, cpu, cuda, cuda:N", device);
}

}  // namespace anchor
