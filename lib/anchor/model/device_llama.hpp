#pragma once

#include <memory>

#include "anchor/model/llama.hpp"
#include "anchor/model/method_attention.hpp"

namespace anchor {

/// The forward pass of a Llama model on a device: products in bf16 on weights rounded to bf16 (float32 sums),
/// the residual stream in float32, attention by the engine's kernels on bf16 heads.
class DeviceLlama {
 public:
  virtual ~DeviceLlama() = default;

  struct Hooks {
    MethodAttention* attention = nullptr;  ///< nullptr: dense
    std::function<bool(int)> wants_layer;  ///< which layers on_layer gets; empty: none
    bool wants_result = false;             ///< on_layer gets attention's output and lse, too
    LayerFn on_layer;                      ///< heads as the kernels read them, as floats
    ProgressFn on_progress;                ///< may be empty
  };
  /// Negative log-likelihoods (nats) of tokens 1..N-1 given their past.
  virtual std::vector<double> forward(std::span<const int> tokens, const Rope& rope, const Hooks& hooks) = 0;
  virtual std::string device() const = 0;
};

/// The model on a CUDA device; it must outlive what is returned. A data error without a device, kernels for
/// the model's head dimension, or cuBLAS.
std::unique_ptr<DeviceLlama> make_cuda_llama(const LlamaModel& model, int device);

}  // namespace anchor
