#include "anchor/engine/cuda/pinned.hpp"

#include <algorithm>

#include "anchor/engine/cuda/inputs.hpp"

namespace anchor {

void* PinnedMemory::do_allocate(std::size_t bytes, std::size_t) {  // a buffer starts on a page
  const std::lock_guard lock(mutex_);
  // A buffer twice as large as needed would be missed where its size is needed.
  const auto fits = std::find_if(idle_.begin(), idle_.end(), [&](const kernels::PinnedBuffer& buffer) {
    return buffer.bytes() >= bytes && buffer.bytes() / 2 <= bytes;
  });
  if (fits != idle_.end()) {
    busy_.push_back(std::move(*fits));
    idle_.erase(fits);
  } else {
    const auto total = [](const std::vector<kernels::PinnedBuffer>& buffers) {
      std::size_t sum = 0;
      for (const kernels::PinnedBuffer& buffer : buffers) sum += buffer.bytes();
      return sum;
    };
    while (total(idle_) > total(busy_) + bytes)
      idle_.erase(idle_.begin());  // their sizes are no longer asked for
    busy_.push_back(guarded([&] { return kernels::PinnedBuffer(std::max<std::size_t>(bytes, 1)); }));
  }
  return busy_.back().data();
}

void PinnedMemory::do_deallocate(void* memory, std::size_t, std::size_t) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(busy_.begin(), busy_.end(), [&](const kernels::PinnedBuffer& buffer) {
    return buffer.data() == memory;
  });
  idle_.push_back(std::move(*found));
  busy_.erase(found);
}

}  // namespace anchor
