#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

struct CUstream_st;

namespace anchor {

/// One layer of causal attention for cuDNN. Tensors are contiguous [heads, tokens, head_dim] device memory.
/// It includes no header of ours: the file behind it takes a minute to compile.
struct CudnnProblem {
  bool bf16 = true;  ///< else f16
  int q_heads = 1, kv_heads = 1, head_dim = 128;
  std::int64_t q_len = 0, kv_len = 0, q_start = 0;
  float softmax_scale = 1;
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  void* out = nullptr;
  float* lse = nullptr;  ///< [q_heads, q_len], natural log; may be nullptr
};

/// cuDNN's fused causal attention: the dense baseline that every speed-up refers to. Grouped queries are
/// native, K and V are not repeated. The library is found at run time (shared_library.hpp); a build without
/// cudnn-frontend has the class too, and its constructor is the data error that says so.
class CudnnAttention {
 public:
  /// Builds cuDNN's plan. A data error says what is missing or not supported.
  explicit CudnnAttention(const CudnnProblem& problem);
  ~CudnnAttention();

  std::size_t workspace_bytes() const;
  /// Asynchronous on `stream`.
  void run(CUstream_st* stream, void* workspace);

  /// The version of the library that was loaded: "9.19.0".
  std::string version() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace anchor
