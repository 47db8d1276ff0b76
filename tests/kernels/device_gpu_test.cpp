#include <doctest/doctest.h>

#include <numeric>
#include <vector>

#include "anchor/kernels/device.hpp"

using namespace anchor::kernels;

TEST_CASE("bytes survive the trip to the device, and copies beyond a buffer are refused") {
  const Stream stream;
  std::vector<int> sent(1000), received(1000);
  std::iota(sent.begin(), sent.end(), 7);
  DeviceBuffer buffer(sent.size() * sizeof(int));
  buffer.upload(sent.data(), buffer.bytes(), stream);
  DeviceBuffer moved = std::move(buffer);
  moved.download(received.data(), moved.bytes(), stream);
  CHECK(received == sent);
  CHECK(buffer.data() == nullptr);
  CHECK_THROWS_AS(moved.upload(sent.data(), 8, stream, moved.bytes() - 4), CudaError);
}

TEST_CASE("an allocation beyond the card says so and leaves no error behind") {
  try {
    DeviceBuffer huge(std::size_t{1} << 46);
    FAIL("64 TiB were allocated");
  } catch (const CudaError& error) {
    CHECK(error.out_of_memory());
  }
  const Stream stream;
  DeviceBuffer small(16);
  small.fill(0xff, stream);
  stream.synchronize();
}
