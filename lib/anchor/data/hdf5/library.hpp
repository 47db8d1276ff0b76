#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "anchor/data/hdf5/node.hpp"

// What the child processes share in their use of libhdf5. Only the .cpp files of this folder see its header:
// an identifier is an int64 here, a status an int.
namespace anchor::h5 {

/// A library identifier that closes itself.
class Handle {
 public:
  using Close = int (*)(std::int64_t);
  Handle() = default;
  Handle(std::int64_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept { swap(other); }
  Handle& operator=(Handle&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  std::int64_t get() const { return id_; }
  std::int64_t release() { return std::exchange(id_, -1); }

 private:
  void swap(Handle& other) {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
  }
  std::int64_t id_ = -1;
  Close close_ = nullptr;
};

/// Starts the library: silent, without plugins.
void initialise();
/// How files are opened and made: readable by every HDF5, big data on page boundaries, no locks (the parent
/// holds them).
Handle access_properties();
/// The path under which the library opens a descriptor of this process.
std::string path_of(int descriptor);

/// What the library says about the last failure.
std::string reason();
/// Fails with "cannot ACTION: REASON" if a status or identifier is negative.
template <class Status>
Status check(Status status, const char* action);
Handle make(std::int64_t id, Handle::Close close, const char* action);

/// The stored type of an element, bit for bit what numpy-side readers expect.
Handle type_of(Element element);
Element element_of(std::int64_t type);

/// The address of an object's header.
std::uint64_t address_of(std::int64_t object);

[[noreturn]] void fail_with_reason(const char* action);

template <class Status>
Status check(Status status, const char* action) {
  if (status < 0) fail_with_reason(action);
  return status;
}

}  // namespace anchor::h5
