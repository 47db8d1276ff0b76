#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "anchor/kernels/device.hpp"

// Without a device nothing can be tested, and saying "passed" would be a lie: 77 is CTest's SKIP_RETURN_CODE.
int main(int argc, char** argv) {
  if (anchor::kernels::device_count() == 0) {
    std::puts("skipped: no CUDA device");
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
