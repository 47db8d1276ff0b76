#pragma once

#include <cstddef>
#include <memory_resource>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace anchor {

/// Takes memory from a resource that is chosen at run time (page-locked memory of a device's engine, say) and
/// leaves new elements uninitialised: what is read from a file need not be zeroed first.
template <class T>
class HostAllocator {
 public:
  using value_type = T;
  using propagate_on_container_move_assignment = std::true_type;
  using propagate_on_container_swap = std::true_type;

  HostAllocator() = default;
  HostAllocator(std::pmr::memory_resource* resource) : resource_(resource) {}
  template <class U>
  HostAllocator(const HostAllocator<U>& other) : resource_(other.resource()) {}

  T* allocate(std::size_t count) {
    return static_cast<T*>(resource_->allocate(count * sizeof(T), alignment));
  }
  void deallocate(T* memory, std::size_t count) {
    resource_->deallocate(memory, count * sizeof(T), alignment);
  }
  template <class U, class... Args>
  void construct(U* place, Args&&... args) {
    if constexpr (sizeof...(Args) == 0)
      ::new (static_cast<void*>(place)) U;
    else
      ::new (static_cast<void*>(place)) U(std::forward<Args>(args)...);
  }
  std::pmr::memory_resource* resource() const { return resource_; }
  bool operator==(const HostAllocator& other) const { return resource_ == other.resource_; }

 private:
  static constexpr std::size_t alignment = 64;
  std::pmr::memory_resource* resource_ = std::pmr::get_default_resource();
};

/// The bytes of a stored tensor.
using HostBytes = std::vector<std::byte, HostAllocator<std::byte>>;

}  // namespace anchor
