#pragma once

#include "anchor/kernels/launch.hpp"

// What a forward pass needs between its matrix products and its attention. Activations that products
// read are bf16, the residual stream and what products write are float32.
namespace anchor::kernels {

/// out[r] = x[r] / rms(x[r]) * weight: float32 [rows, width] to bf16.
void rms_norm(const float* x, const float* weight, float eps, std::int64_t rows, int width, void* out,
              const Stream& stream);

/// x[r] += product[r] / rms(product[r]) * weight, all float32 [rows, width]: the norm after a layer's part.
void add_rms_norm(const float* product, const float* weight, float eps, std::int64_t rows, int width,
                  float* x, const Stream& stream);
/// x[r] += bias, float32 [rows, width].
void add_bias(const float* bias, std::int64_t rows, std::int64_t width, float* x, const Stream& stream);

/// Projected queries, keys and values of rows [begin, begin + rows): float32 [rows, q_heads + 2 kv_heads,
/// dim] to bf16 [heads, tokens, dim] each. Queries and keys get their RMS norm, where there is one, and the
/// leading `rotated` dimensions of them are turned by the angles of their position (pairs i, i + rotated / 2;
/// cos and sin are [tokens, rotated / 2]).
struct SplitHeads {
  const float* projected = nullptr;
  const float *cos = nullptr, *sin = nullptr;
  void *q = nullptr, *k = nullptr, *v = nullptr;
  int q_heads = 1, kv_heads = 1, dim = 64;
  std::int64_t tokens = 0, begin = 0, rows = 0;
  int rotated = 0;                                   ///< even; 0 = no rotation
  const float *q_norm = nullptr, *k_norm = nullptr;  ///< [dim], or nullptr
  float eps = 0;                                     ///< of these norms
};
void split_heads(const SplitHeads& params, const Stream& stream);

/// Gated linear units (arXiv 2002.05202): silu(gate) * up, or gelu(gate) * up in GELU's tanh form. float32
/// [rows, 2 width] (gate first) to bf16 [rows, width].
void swiglu(const float* gate_up, std::int64_t rows, int width, void* out, const Stream& stream);
void geglu(const float* gate_up, std::int64_t rows, int width, void* out, const Stream& stream);

/// Rows of a mixture's experts: out[n] = in[rows[n]], bf16 [count, width].
void gather_rows(const void* in, const std::int32_t* rows, std::int64_t count, std::int64_t width, void* out,
                 const Stream& stream);
/// x[rows[n]] += weights[n] * product[n], float32 [count, width]; no row is there twice.
void add_weighted_rows(const float* product, const std::int32_t* rows, const float* weights,
                       std::int64_t count, std::int64_t width, float* x, const Stream& stream);

/// out[r] = log(sum exp(logits[r])) - logits[r][target[r]]: float32 [rows, width].
void negative_log_likelihood(const float* logits, const std::int32_t* target, std::int64_t rows,
                             std::int64_t width, float* out, const Stream& stream);

}  // namespace anchor::kernels
