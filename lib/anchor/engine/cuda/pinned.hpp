#pragma once

#include <memory_resource>
#include <mutex>
#include <vector>

#include "anchor/kernels/device.hpp"

namespace anchor {

/// Page-locked host memory: copies to and from a device run at full speed. Allocating it is slow, so buffers
/// that were given back are kept and handed out again.
class PinnedMemory final : public std::pmr::memory_resource {
 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override;
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }

  std::mutex mutex_;
  std::vector<kernels::PinnedBuffer> idle_, busy_;
};

}  // namespace anchor
