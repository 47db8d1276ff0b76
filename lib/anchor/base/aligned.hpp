#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace anchor {

/// Memory that starts on a cache line. Eigen peels loops up to the next aligned address, so sums over
/// unaligned memory depend on where the allocator put it; from aligned memory the same inputs always give the
/// same bits.
template <class T>
struct AlignedAllocator {
  using value_type = T;
  static constexpr std::align_val_t alignment{64};

  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(std::size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), alignment)); }
  void deallocate(T* memory, std::size_t) { ::operator delete(memory, alignment); }
  bool operator==(const AlignedAllocator&) const { return true; }
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

}  // namespace anchor
