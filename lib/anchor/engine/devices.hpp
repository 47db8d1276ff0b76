#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "anchor/engine/engine.hpp"

namespace anchor {

/// `device` is auto, reference, cpu, cuda or cuda:N. auto = cuda where a device is present, else cpu. A data
/// error says why a requested device is not available.
std::unique_ptr<Engine> make_engine(const std::string& device);

/// The number of the one CUDA device that the text names (as in make_engine), or nothing for the CPU.
std::optional<int> cuda_device(const std::string& device);

/// Engines for a tool that works on several KV groups at once: `device` may also be a list, cuda:0,1, or
/// cuda:all. Every CUDA device gets `per_cuda_device` engines, so that one copies while another computes; the
/// CPU gets `per_cpu`, which share its threads: many small loops in a row keep few threads busy better than
/// many.
std::vector<std::unique_ptr<Engine>> make_engines(const std::string& device, int per_cuda_device,
                                                  int per_cpu);

}  // namespace anchor
