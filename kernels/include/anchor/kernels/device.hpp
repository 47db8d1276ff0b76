#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

// Owners of CUDA objects and the one error type. No CUDA header is needed to include this.
struct CUstream_st;
struct CUevent_st;

namespace anchor::kernels {

/// A CUDA call or a launch failed; the message says which and why, in one line.
class CudaError : public std::runtime_error {
 public:
  CudaError(const std::string& message, bool out_of_memory)
      : std::runtime_error(message), out_of_memory_(out_of_memory) {}
  bool out_of_memory() const { return out_of_memory_; }

 private:
  bool out_of_memory_;
};

/// Number of usable devices; 0 without a driver.
int device_count();

struct DeviceInfo {
  std::string name;
  std::string pci_bus_id;    ///< 0000:3b:00.0
  int major = 0, minor = 0;  ///< compute capability
  int multiprocessors = 0;
  std::size_t memory_bytes = 0, l2_bytes = 0;
  int driver_version = 0, runtime_version = 0;  ///< 1000 * major + 10 * minor
};
DeviceInfo device_info(int device);

void set_device(int device);
int current_device();
/// Free device memory in bytes.
std::size_t free_memory();

/// The one owner of a CUDA object; empty after a move.
template <class Handle, void (*destroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  explicit Owned(Handle handle) : handle_(handle) {}
  ~Owned() {
    if (handle_) destroy(handle_);
  }
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, Handle{})) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  const Handle& get() const { return handle_; }

 private:
  Handle handle_{};
};

/// Memory that one call took.
struct Allocation {
  void* data = nullptr;
  std::size_t bytes = 0;
  CUstream_st* pool = nullptr;  ///< the stream to whose pool it goes back; nullptr: it came from none
  explicit operator bool() const { return data != nullptr; }
};

void destroy_stream(CUstream_st* stream);
void destroy_event(CUevent_st* event);
void free_device_memory(Allocation memory);
void free_pinned_memory(Allocation memory);

class Event;

/// A stream of the current device. Default-constructed streams do not synchronise with the legacy stream.
class Stream {
 public:
  Stream();

  CUstream_st* handle() const { return stream_.get(); }
  void synchronize() const;
  /// What is launched from now on begins after what the event recorded; nothing waits for an event that was
  /// never recorded.
  void wait(const Event& event) const;

 private:
  Owned<CUstream_st*, destroy_stream> stream_;
};

/// While it lives, DeviceBuffers that this thread makes come from the device's memory pool and go back to it
/// in the order of one stream: taking and giving back are cheap and nothing waits for them. They are for that
/// stream alone and must be gone before it; they may outlive this.
class PooledMemory {
 public:
  explicit PooledMemory(const Stream& stream);
  ~PooledMemory();
  PooledMemory(const PooledMemory&) = delete;
  PooledMemory& operator=(const PooledMemory&) = delete;

 private:
  CUstream_st* outer_;
};

/// A timing event.
class Event {
 public:
  Event();

  CUevent_st* handle() const { return event_.get(); }
  void record(const Stream& stream);
  void synchronize() const;
  /// Milliseconds from `start` to this event; waits for this event.
  double milliseconds_since(const Event& start) const;

 private:
  Owned<CUevent_st*, destroy_event> event_;
};

/// Device memory, uninitialised. Grows only by making a new one.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(std::size_t bytes);

  std::size_t bytes() const { return memory_.get().bytes; }
  template <class T = void>
  T* data() const {
    return static_cast<T*>(memory_.get().data);
  }

  /// Copies from host memory; returns when the host memory may be reused.
  void upload(const void* source, std::size_t bytes, const Stream& stream, std::size_t offset = 0);
  /// Copies to host memory and waits for it.
  void download(void* target, std::size_t bytes, const Stream& stream, std::size_t offset = 0) const;
  /// Sets every byte, in stream order.
  void fill(std::uint8_t byte, const Stream& stream);

 private:
  Owned<Allocation, free_device_memory> memory_;
};

/// Copies host memory to device memory that somebody else owns; returns when the host memory may be reused.
void upload(void* target, const void* source, std::size_t bytes, const Stream& stream);
/// Copies page-locked host memory, which must stay as it is until the stream has passed the copy.
void upload_pinned(void* target, const void* source, std::size_t bytes, const Stream& stream);
/// Copies device memory that somebody else owns to the host and waits for it.
void download(void* target, const void* source, std::size_t bytes, const Stream& stream);
/// Copies within the device's memory, in stream order.
void copy_on_device(void* target, const void* source, std::size_t bytes, const Stream& stream);

/// Page-locked host memory, for copies at full speed. Allocating it is slow: allocate once.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(std::size_t bytes);

  std::size_t bytes() const { return memory_.get().bytes; }
  template <class T = void>
  T* data() const {
    return static_cast<T*>(memory_.get().data);
  }

 private:
  Owned<Allocation, free_pinned_memory> memory_;
};

}  // namespace anchor::kernels
