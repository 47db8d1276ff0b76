#pragma once

#include <cstddef>
#include <vector>

#include "anchor/kernels/device.hpp"

namespace anchor {

/// Device memory that is taken piece by piece and given back all at once: what one KV group after the other
/// needs, without an allocation for each.
class DeviceArena {
 public:
  template <class T>
  T* take(std::size_t count) {
    return static_cast<T*>(take_bytes(count * sizeof(T)));
  }

  /// Gives back what was taken while it lived.
  class Scope {
   public:
    explicit Scope(DeviceArena& arena) : arena_(arena), chunk_(arena.chunk_), used_(arena.used_) {}
    ~Scope() { arena_.release(chunk_, used_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    DeviceArena& arena_;
    std::size_t chunk_, used_;
  };

 private:
  void* take_bytes(std::size_t bytes);
  void release(std::size_t chunk, std::size_t used);

  std::vector<kernels::DeviceBuffer> chunks_;
  std::size_t chunk_ = 0, used_ = 0;  ///< the chunk in use, and how much of it is taken
};

}  // namespace anchor
