#include <algorithm>

#include "check.hpp"
#include "common/anchor/prepare.hpp"
#include "common/anchor/select.cuh"
#include "common/planners/xattention.cuh"

// The antidiagonal score of stripes: whole blocks by the mass that XAttention estimates.
namespace anchor::kernels {
namespace {

constexpr int kWarps = 8;

/// A warp's tile of head `local` of the chunk: the bits of a block's 128 keys, of which the initial ones are
/// listed anyway. `first_row` is the bitmaps' first plan row.
__global__ void __launch_bounds__(kWarps * 32)
    keep_blocks_kernel(ListPlannerParams p, AnchorGroups groups, AnchorLayout layout,
                       const __grid_constant__ XAttentionCells cells, int heads, std::int64_t first_row) {
  __shared__ float row_lse[kWarps][select_keys / antidiagonal_stride];
  const std::int64_t warp = blockIdx.x * std::int64_t{kWarps} + threadIdx.x / 32;
  if (warp >= heads * groups.count) return;
  const int local = static_cast<int>(warp / groups.count), tile = static_cast<int>(warp % groups.count);
  const int head = cells.head(local);
  const float theta = p.theta[head], rows = static_cast<float>(cells.rows(tile));
  auto* const words =
      reinterpret_cast<uint4*>(layout.bitmap + (head * groups.count + tile - first_row) * layout.words);
  block_masses(cells, local, tile, row_lse[threadIdx.x / 32], [&](int block, float mass) {
    if (block == tile) return;  // no candidate
    const std::uint32_t kept = -logf(mass / rows) <= theta ? ~0u : 0;
    const auto word = [&](int n) {
      return kept | bits_before(std::int64_t{block} * select_keys + n * 32, groups.initial);
    };
    words[block] = make_uint4(word(0), word(1), word(2), word(3));
  });
}

}  // namespace

void run_antidiagonal(const StripesParams& params, const AnchorGroups& groups, const AnchorLayout& layout,
                      int kv_begin, int kv_end, CUstream_st* stream) {
  const int begin = kv_begin * layout.heads_per_kv;
  XAttentionCells cells = layout.cells;
  int left = count(params.antidiagonal, begin, kv_end * layout.heads_per_kv), done = 0;
  for (cells.first_head = begin; left > 0; left -= done) {
    if (done > 0) cells.first_head = cells.head(done);
    done = std::min(layout.cell_heads, left);
    run_cells(params, cells, done, stream);
    const std::int64_t warps = done * groups.count;
    keep_blocks_kernel<<<static_cast<unsigned>((warps + kWarps - 1) / kWarps), kWarps * 32, 0, stream>>>(
        params, groups, layout, cells, done, begin * groups.count);
    check_launch("keep_blocks_kernel");
  }
}

}  // namespace anchor::kernels
