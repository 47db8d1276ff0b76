#pragma once

#include "anchor/kernels/device.hpp"
#include "anchor/kernels/params.hpp"

// Planners on the device: pooling, scores, selection and lists (rules: lib/anchor/method/NAME.cpp). All take
// a whole prefill (q_len = kv_len, q_start = 0). Launches are asynchronous; nothing visits the host. Heads
// run in chunks, so that scores of all heads never exist at once; workspace_bytes() is the peak beside the
// lists.
namespace anchor::kernels {

/// Tiles of query rows and blocks of keys of every head, one bit for each pair: bit c % 32 of word
/// [head, tile, c / 32] says that the tile keeps block c.
struct BlockGrid {
  BlockGrid(int heads, std::int64_t tokens, int q_tile, int kv_tile);
  int heads;
  std::int64_t tokens;
  int q_tile, kv_tile;
  int tiles, blocks, words;  ///< per head, per head, per tile
  std::int64_t rows() const { return static_cast<std::int64_t>(heads) * tiles; }
  std::size_t bytes() const { return static_cast<std::size_t>(rows() * words) * sizeof(std::uint32_t); }
};

// --- Lists ---

/// Turns bits into lists, ascending: block starts (bit number times kv_tile). `head_copies` consecutive plan
/// heads repeat each head of the grid. offsets [heads * head_copies * tiles + 1] are complete even if the
/// items exceed the capacity.
struct BlockListsParams {
  std::int64_t* offsets = nullptr;
  std::int32_t* items = nullptr;
  std::int64_t capacity = 0;
  int head_copies = 1;
};
std::size_t block_lists_workspace(const BlockGrid& grid, int head_copies);
void block_lists(const BlockGrid& grid, const std::uint32_t* bits, const BlockListsParams& lists,
                 void* workspace, const Stream& stream);

/// The lists of sink and local windows in tiles of 128 rows and blocks of 128 keys (StreamingLLM, A-shape,
/// tri-shape); blocks and columns.
struct WindowListsParams {
  int q_heads = 1;
  std::int64_t q_len = 0, kv_len = 0, q_start = 0;
  std::int64_t sink = 0, dense_from = 0;
  const std::int32_t* local = nullptr;  ///< [q_heads] on the device
  BlockListsParams blocks, columns;
};
std::size_t workspace_bytes(const WindowListsParams& params);
void window_lists(const WindowListsParams& params, void* workspace, const Stream& stream);

// --- Methods. `knob` is one value per query head, on the device ---

/// MInference's vertical-slash head: unaligned blocks of 64 keys and columns, per tile of 64 rows.
struct VerticalSlashParams {
  int last = 64;                     ///< probe rows, at most 128
  const double* vertical = nullptr;  ///< columns per head, at least 30
  std::int64_t slash = 0;            ///< distances, at least 100
  BlockListsParams blocks, columns;
};
std::size_t workspace_bytes(const Tensors& inputs, const VerticalSlashParams& params);
void vertical_slash(const Tensors& inputs, const VerticalSlashParams& params, void* workspace,
                    const Stream& stream);

/// FlexPrefill, its fixed budgets on blocks, and SharePrefill without clusters.
struct FlexPrefillParams {
  int block = 128;               ///< tile, block and rows of the probe, at most 128
  const double* knob = nullptr;  ///< gamma, or tokens in the best columns of blocks if `slash_blocks` > 0
  int slash_blocks = 0;          ///< > 0: fixed budgets, and no head is query-aware
  double tau = 0.1;
  int least_blocks = 1, most_blocks = 1;
};
std::size_t workspace_bytes(const Tensors& inputs, const FlexPrefillParams& params);
void flexprefill_select(const Tensors& inputs, const FlexPrefillParams& params, std::uint32_t* bits,
                        void* workspace, const Stream& stream);

/// MInference's block-sparse head.
struct BlockSparseParams {
  int block = 64;
  bool zero_padded = false;      ///< the last block's means count its padding
  const double* knob = nullptr;  ///< blocks per tile
};
std::size_t workspace_bytes(const Tensors& inputs, const BlockSparseParams& params);
void block_sparse_select(const Tensors& inputs, const BlockSparseParams& params, std::uint32_t* bits,
                         void* workspace, const Stream& stream);

/// XAttention. block / stride is 8, 16 or 32.
struct XAttentionParams {
  int block = 128, stride = 16;
  const double* knob = nullptr;  ///< tau
};
const char* unsupported(const Tensors& inputs, const XAttentionParams& params);
std::size_t workspace_bytes(const Tensors& inputs, const XAttentionParams& params);
void xattention_select(const Tensors& inputs, const XAttentionParams& params, std::uint32_t* bits,
                       void* workspace, const Stream& stream);

/// SpargeAttn: tiles of 128 rows, blocks of 64 keys.
struct SpargeAttnParams {
  bool topk = false;  ///< the knob is a share of all blocks, else of pooled attention
  bool smooth_k = true;
  double similarity = 0.6;
  const double* knob = nullptr;
};
std::size_t workspace_bytes(const Tensors& inputs, const SpargeAttnParams& params);
void spargeattn_select(const Tensors& inputs, const SpargeAttnParams& params, std::uint32_t* bits,
                       void* workspace, const Stream& stream);

/// FlashPrefill. The grid has one head per pack of `packed_heads` query heads and tiles of block /
/// packed_heads positions.
struct FlashPrefillParams {
  int block = 128, packed_heads = 1;
  std::int64_t sink = 256, window = 512;
  bool exact = true;             ///< score every query row; else the tile's mean query
  const double* knob = nullptr;  ///< alpha
};
const char* unsupported(const Tensors& inputs, const FlashPrefillParams& params);
std::size_t workspace_bytes(const Tensors& inputs, const FlashPrefillParams& params);
void flashprefill_select(const Tensors& inputs, const FlashPrefillParams& params, std::uint32_t* bits,
                         void* workspace, const Stream& stream);

/// SALE: tiles of 64 rows, blocks of 32 keys.
struct SaleParams {
  std::int64_t window = 128;
  bool per_token = false;        ///< int4 scales per token, else per thread group
  const double* knob = nullptr;  ///< theta_h
};
const char* unsupported(const Tensors& inputs, const SaleParams& params);
std::size_t workspace_bytes(const Tensors& inputs, const SaleParams& params);
void sale_select(const Tensors& inputs, const SaleParams& params, std::uint32_t* bits, void* workspace,
                 const Stream& stream);

/// The block oracle.
struct BlockOracleParams {
  int block = 128;
  bool force_diagonal = true;
  const double* knob = nullptr;  ///< share of every tile's mass
};
const char* unsupported(const Tensors& inputs, const BlockOracleParams& params);
std::size_t workspace_bytes(const Tensors& inputs, const BlockOracleParams& params);
void block_oracle_select(const Tensors& inputs, const BlockOracleParams& params, std::uint32_t* bits,
                         void* workspace, const Stream& stream);

}  // namespace anchor::kernels
