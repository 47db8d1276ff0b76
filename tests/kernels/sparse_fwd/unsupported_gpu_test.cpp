#include <doctest/doctest.h>

#include <string>

#include "anchor/kernels/launch.hpp"

using namespace anchor;

TEST_CASE("unsupported launches say why") {
  const kernels::DeviceInfo device = kernels::device_info(kernels::current_device());
  kernels::SparseFwdParams params;
  params.shape.q_len = params.shape.kv_len = 8;
  params.shape.head_dim = 72;
  CHECK(kernels::unsupported(params, device) != nullptr);
  params.shape.head_dim = 64;
  params.stride_kv_token = 65;
  CHECK(std::string(kernels::unsupported(params, device)) == "rows must be 16-byte aligned");
  params.stride_kv_token = 64;
  params.shape.q_heads = 3;
  params.shape.kv_heads = 2;
  CHECK(std::string(kernels::unsupported(params, device)) == "kv_heads must divide q_heads");
}
