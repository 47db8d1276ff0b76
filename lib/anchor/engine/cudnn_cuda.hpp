#pragma once

#include <memory>
#include <string>

#include "anchor/kernels/device.hpp"
#include "anchor/kernels/params.hpp"

namespace anchor {

/// cuDNN's fused causal attention on one layer: the dense baseline that every speed-up refers to. Grouped
/// queries are native, K and V are not repeated. The library is found at run time (shared_library.hpp); a
/// build without cudnn-frontend has the class too, and every constructor call is the data error that says so.
class CudnnAttention {
 public:
  /// All tensors are contiguous [heads, tokens, head_dim] device memory of the shape's element type; `lse`
  /// ([q_heads, q_len], natural log) may be nullptr. Builds cuDNN's plan, takes its workspace, and keeps the
  /// pointers. A data error says what is missing or not supported.
  CudnnAttention(const kernels::Shape& shape, const void* q, const void* k, const void* v, void* out,
                 float* lse);
  ~CudnnAttention();

  /// Asynchronous on `stream`.
  void run(const kernels::Stream& stream);

  /// Of the library that was loaded, "9.19.0".
  std::string version() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace anchor
