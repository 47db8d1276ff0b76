#pragma once

#include <doctest/doctest.h>

#include <vector>

#include "anchor/kernels/launch.hpp"
#include "support/gpu/device_inputs.hpp"

namespace anchor::test {

/// The paths that this device has for an operation, a type and a head dimension: on Hopper the portable
/// kernels, too.
template <class Params>
std::vector<kernels::Path> paths(DType dtype, int head_dim) {
  Params params;
  params.shape.element = element_of(dtype);
  params.shape.head_dim = head_dim;
  params.shape.q_len = params.shape.kv_len = 1;
  std::vector<kernels::Path> found;
  for (const kernels::Path path : {kernels::Path::sm90, kernels::Path::sm80})
    if (!kernels::unsupported(params, kernels::device_info(kernels::current_device()), path))
      found.push_back(path);
  REQUIRE(!found.empty());
  return found;
}

/// While it lives, everything that leaves the path to the launches (engines, planners, curves) runs the
/// portable kernels.
struct PortablePath {
  PortablePath() { kernels::set_automatic_path(kernels::Path::sm80); }
  ~PortablePath() { kernels::set_automatic_path(kernels::Path::automatic); }
  PortablePath(const PortablePath&) = delete;
  PortablePath& operator=(const PortablePath&) = delete;
};

}  // namespace anchor::test
