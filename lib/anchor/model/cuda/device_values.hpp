#pragma once

#include <span>

#include "anchor/kernels/device.hpp"

namespace anchor {

/// Values on the device, in memory that is taken again only when it has to grow.
class DeviceValues {
 public:
  /// Memory for so many bytes; what was there before may be lost.
  void* reserve(std::size_t bytes) {
    if (buffer_.bytes() < bytes) {
      buffer_ = {};
      buffer_ = kernels::DeviceBuffer(bytes);
    }
    return buffer_.data();
  }
  template <class T>
  void upload(std::span<const T> values, const kernels::Stream& stream) {
    kernels::upload(reserve(values.size_bytes()), values.data(), values.size_bytes(), stream);
  }
  template <class T = void>
  T* data() const {
    return buffer_.data<T>();
  }

 private:
  kernels::DeviceBuffer buffer_;
};

}  // namespace anchor
