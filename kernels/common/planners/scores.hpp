#pragma once

#include "anchor/kernels/planners.hpp"

struct CUstream_st;

// Means of blocks of tokens, and the scores of mean queries against mean keys.
namespace anchor::kernels {

/// Rows of several heads.
struct Tokens {
  Element element;
  const void* data;
  int heads;
  std::int64_t tokens;
  int head_dim;
  std::int64_t stride_head, stride_token;
};
Tokens queries(const Tensors& inputs);
Tokens keys(const Tensors& inputs);

/// means [heads, ceil(tokens / block), head_dim]. zero_padded: a short last block is divided by `block`.
void block_means(const Tokens& x, int block, bool zero_padded, float* means, CUstream_st* stream);

/// sequence_means [heads, head_dim] from the means of blocks, a short last one of which has fewer rows.
void sequence_means(const Tokens& x, int block, const float* means, float* sequence_means,
                    CUstream_st* stream);

/// scores [heads, tiles, blocks] = scale * mean query . mean key over the causal part of a grid, in float;
/// entries beyond it are left alone. q_means [grid heads, tiles, head_dim] starts at head 0, scores at head
/// first_head; k_means [kv_heads, blocks, head_dim]. `wanted` (one int per head) = 0 skips a head; may be
/// nullptr.
void pooled_scores(const BlockGrid& grid, int head_dim, float scale, const float* q_means,
                   const float* k_means, int heads_per_kv, int first_head, int heads, const int* wanted,
                   float* scores, CUstream_st* stream);

}  // namespace anchor::kernels
