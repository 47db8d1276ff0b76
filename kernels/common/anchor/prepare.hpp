#pragma once

#include "common/anchor/layout.hpp"
#include "common/schedule/schedule.hpp"

struct CUstream_st;

// The steps of list planners around the identification, the same on every architecture.
namespace anchor::kernels {

/// Writes block_offsets and blocks, and the schedule over them if one is given; clears the layout's counts
/// and mean anchors.
void run_anchor_region(const ListPlannerParams& params, const AnchorGroups& groups,
                       const AnchorLayout& layout, const Schedule* schedule, CUstream_st* stream);

/// Fills the layout's mean keys, and mean values from `v`.
void run_means(const Tensors& keys, const void* v, const AnchorLayout& layout, CUstream_st* stream);

/// Pools queries and row anchors into matrix operands.
void run_pool(const ListPlannerParams& params, const AnchorLayout& layout, CUstream_st* stream);

/// Clears the bitmaps and counts of `kv_heads` KV heads, where several warps join their bits.
void clear_bitmaps(const AnchorLayout& layout, int kv_heads, CUstream_st* stream);

/// Sets the bits of those query heads of KV heads [kv_begin, kv_end) that keep blocks by XAttention's score.
void run_antidiagonal(const StripesParams& params, const AnchorGroups& groups, const AnchorLayout& layout,
                      int kv_begin, int kv_end, CUstream_st* stream);

/// Counts the bits of those query heads of KV heads [kv_begin, kv_end) that pooled queries do not select for.
void run_count(const ListPlannerParams& params, const AnchorGroups& groups, const AnchorLayout& layout,
               int kv_begin, int kv_end, CUstream_st* stream);

/// Adds the windows of KV heads [kv_begin, kv_end) to bitmaps that are counted.
void run_windows(const StripesParams& params, const AnchorGroups& groups, const AnchorLayout& layout,
                 int kv_begin, int kv_end, CUstream_st* stream);

/// Turns the bitmaps of KV heads [kv_begin, kv_end) into the lists of their plan rows. Chunks run in order: a
/// chunk's lists follow the one before. With the last one comes the schedule over all lists, if wanted.
void run_compact(const ListPlannerParams& params, const AnchorGroups& groups, const AnchorLayout& layout,
                 int kv_begin, int kv_end, const Schedule* stripes, CUstream_st* stream);

}  // namespace anchor::kernels
