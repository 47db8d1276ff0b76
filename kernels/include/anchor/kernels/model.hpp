#pragma once

#include "anchor/kernels/launch.hpp"

// What a Llama forward pass needs between its matrix products and its attention. Activations that products
// read are bf16, the residual stream and what products write are float32.
namespace anchor::kernels {

/// out[r] = x[r] / rms(x[r]) * weight: float32 [rows, width] to bf16.
void rms_norm(const float* x, const float* weight, float eps, std::int64_t rows, int width, void* out,
              const Stream& stream);

/// Projected queries, keys and values of rows [begin, begin + rows): float32 [rows, q_heads + 2 kv_heads,
/// dim] to bf16 [heads, tokens, dim] each; queries and keys are rotated by the angles of their position
/// (pairs i, i + dim / 2; cos and sin are [tokens, dim / 2]).
struct SplitHeads {
  const float* projected = nullptr;
  const float *cos = nullptr, *sin = nullptr;
  void *q = nullptr, *k = nullptr, *v = nullptr;
  int q_heads = 1, kv_heads = 1, dim = 64;
  std::int64_t tokens = 0, begin = 0, rows = 0;
};
void split_heads(const SplitHeads& params, const Stream& stream);

/// silu(gate) * up (arXiv 2002.05202): float32 [rows, 2 width] (gate first) to bf16 [rows, width].
void swiglu(const float* gate_up, std::int64_t rows, int width, void* out, const Stream& stream);

/// out[r] = log(sum exp(logits[r])) - logits[r][target[r]]: float32 [rows, width].
void negative_log_likelihood(const float* logits, const std::int32_t* target, std::int64_t rows,
                             std::int64_t width, float* out, const Stream& stream);

}  // namespace anchor::kernels
