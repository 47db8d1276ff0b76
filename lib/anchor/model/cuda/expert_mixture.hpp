#pragma once

#include "anchor/engine/cuda/cublas.hpp"
#include "anchor/kernels/model.hpp"
#include "anchor/model/cuda/device_values.hpp"
#include "anchor/model/cuda/weights.hpp"

namespace anchor {

/// The kernel of an architecture's gated linear unit.
inline auto gate_kernel(const ModelConfig& config) {
  return config.architecture->activation == Activation::silu ? kernels::swiglu : kernels::geglu;
}

/// The feed-forward part of a layer with experts, on a device. Rows are routed on the host, from logits that
/// the device makes in bf16; then every expert works on the rows that it gets, one after the other.
class ExpertMixture {
 public:
  /// All outlive it.
  ExpertMixture(const ModelConfig& config, const CublasGemm& gemm, const kernels::Stream& stream)
      : c_(config), gemm_(gemm), stream_(stream) {}

  /// The stream `x` [rows, hidden], float32, grows by the mixture of `normed` [rows, hidden], bf16.
  void run(const DeviceLayer& weights, std::int64_t rows, const void* normed, float* x);

 private:
  const ModelConfig& c_;
  const CublasGemm& gemm_;
  const kernels::Stream& stream_;
  DeviceValues logits_, rows_, shares_, gathered_, wide_, gated_, product_;
};

}  // namespace anchor
