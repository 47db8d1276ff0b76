#pragma once

#include <memory>

#include "anchor/model/language_model.hpp"
#include "anchor/model/method_attention.hpp"

namespace anchor {

/// The forward pass of a language model on a device: products in bf16 on weights rounded to bf16 (float32
/// sums), the residual stream in float32, attention by the engine's kernels on bf16 heads.
class DeviceModel {
 public:
  virtual ~DeviceModel() = default;

  struct Hooks {
    MethodAttention* attention = nullptr;  ///< nullptr: dense
    std::function<bool(int)> wants_layer;  ///< which layers on_layer gets; empty: none
    bool wants_result = false;             ///< on_layer gets attention's output and lse, too
    LayerFn on_layer;                      ///< heads as the kernels read them, as floats
    ProgressFn on_progress;                ///< may be empty
  };
  /// Negative log-likelihoods (nats) of tokens 1..N-1 given their past.
  virtual std::vector<double> forward(std::span<const int> tokens, const Ropes& ropes,
                                      const Hooks& hooks) = 0;
  virtual std::string device() const = 0;
};

/// The model on a CUDA device; it must outlive what is returned. A data error without a device, kernels for
/// the model's head dimension, or cuBLAS, and for a model with parts that have no kernels.
std::unique_ptr<DeviceModel> make_cuda_model(const LanguageModel& model, int device);

}  // namespace anchor
