#pragma once

#include <memory>

#include "anchor/engine/engine.hpp"
#include "anchor/kernels/device.hpp"
#include "anchor/kernels/launch.hpp"

namespace anchor {

/// The element type of the kernels; a data error for types that they do not take.
kernels::Element element_of(DType dtype);
DType dtype_of(kernels::Element element);

/// The head dimension with which kernels take heads of dimension `dim`: 64, 128 or 256, with zeros behind the
/// head's own numbers, which change no score and no output; `dim` itself where that is larger.
int kernel_dim(int dim);

/// A KV group, or a whole layer, in device memory: q, k and v contiguous in their stored type.
class CudaInputs final : public Inputs {
 public:
  CudaInputs(const KvGroup& group, const kernels::Stream& stream);
  /// Uninitialised memory that somebody writes on the device, in rows of head_dim numbers.
  CudaInputs(const Geometry& geometry, DType dtype, const kernels::Stream& stream);

  const Geometry& geometry() const override { return geometry_; }
  /// Numbers of a head's row in device memory, of inputs and of outputs.
  int width() const { return width_; }
  /// From here on the layer has this window (memory that serves one layer after the other).
  void set_window(std::int64_t window) { geometry_.sliding_window = window; }
  DType dtype() const { return dtype_; }
  const kernels::Stream& stream() const { return stream_; }

  /// What launches take: query rows [begin, end) of every head.
  kernels::Tensors tensors(std::int64_t begin, std::int64_t end) const;
  /// All rows of the query heads [first, first + count) of one KV head.
  kernels::Tensors head_tensors(int first, int count) const;

  void* q_data() { return q_.data(); }
  void* k_data() { return k_.data(); }
  void* v_data() { return v_.data(); }

  /// The float copy for planners that run on the CPU, fetched from the device when first asked for.
  const FloatGroup& host() const;
  /// The memory was written again: what host() fetched is out of date.
  void forget_host() { host_.reset(); }

 private:
  Geometry geometry_;
  int width_;
  DType dtype_;
  int layer_ = 0, first_kv_head_ = 0;
  std::shared_ptr<const Rotation> rotation_;
  const kernels::Stream& stream_;
  kernels::DeviceBuffer q_, k_, v_;
  mutable std::unique_ptr<FloatGroup> host_;
};

/// Throws the data error for a failed CUDA call: out of memory, or what the call reports.
[[noreturn]] void fail_cuda(const kernels::CudaError& error);

/// Runs `body`, turning CUDA failures into data errors.
template <class Body>
auto guarded(Body&& body) {
  try {
    return body();
  } catch (const kernels::CudaError& error) {
    fail_cuda(error);
  }
}

}  // namespace anchor
