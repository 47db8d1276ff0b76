#include "anchor/kernels/mass.hpp"
#include "check.hpp"
#include "common/planners/cut.cuh"
#include "common/planners/grid.cuh"

// The block oracle (rule: lib/anchor/method/mass_oracles.cpp) over exact masses of two QK passes.
namespace anchor::kernels {
namespace {

/// A warp's tile: blocks by mass while the mass before them is below the share.
__global__ void __launch_bounds__(256)
    select_kernel(BlockGrid grid, int first_head, int heads, bool force_diagonal, const double* share,
                  const float* masses, std::uint32_t* bits) {
  const std::int64_t row = blockIdx.x * std::int64_t{8} + threadIdx.x / 32;
  if (row >= static_cast<std::int64_t>(heads) * grid.tiles) return;
  const int tile = static_cast<int>(row % grid.tiles), head = first_head + static_cast<int>(row / grid.tiles);
  const int causal = causal_blocks(grid, tile), lane = threadIdx.x % 32, diagonal = causal - 1;
  const float* mass = masses + row * grid.blocks;
  double total = 0;
  float best = -1;
  int always = INT32_MAX;
  for (int c = lane; c < causal; c += 32) {
    total += static_cast<double>(mass[c]);
    if (mass[c] > best) best = mass[c], always = c;
  }
  total = Team<32>::sum<double>(total, nullptr);
  warp_best(best, always);
  if (force_diagonal) always = diagonal;
  const auto at = [&](std::int64_t c, float& value) {
    if (c >= causal || c == always) return false;
    value = mass[c];
    return true;
  };
  const double budget = share[head] * total - static_cast<double>(mass[always]);
  const Cut cut = find_cut<Budget::before, Team<32>>(causal, budget, nullptr, at);
  write_cut(
      cut, grid.words, at, [&](int c, bool) { return c == always; },
      bits + (static_cast<std::int64_t>(head) * grid.tiles + tile) * grid.words);
}

struct Layout {
  Layout(const Tensors& in, const BlockOracleParams& p, void* workspace)
      : grid(in.shape.q_heads, in.shape.kv_len, p.block, p.block), carver(workspace) {
    const std::int64_t cells = (in.shape.q_len + 63) / 64 * ((in.shape.kv_len + 15) / 16);
    together = heads_at_once(in.shape, cells * 4);
    lse = carver.take<float>(together * in.shape.q_len);
    mass = carver.take<float>(static_cast<std::int64_t>(together) * grid.tiles * grid.blocks);
    scratch = carver.take<char>(static_cast<std::int64_t>(workspace_bytes(masses(in, p, 0, together))));
  }

  /// The masses of heads [first, first + heads), whole KV groups.
  MassParams masses(const Tensors& in, const BlockOracleParams& p, int first, int heads) const {
    const int ratio = in.shape.q_heads / in.shape.kv_heads;
    MassParams made{in};
    made.shape.q_heads = heads;
    made.shape.kv_heads = heads / ratio;
    made.q = static_cast<const char*>(in.q) + first * in.stride_q_head * 2;
    made.k = static_cast<const char*>(in.k) + first / ratio * in.stride_kv_head * 2;
    made.lse = lse;
    made.tile_rows = made.block_keys = p.block;
    made.block_mass = mass ? mass : reinterpret_cast<float*>(16);  // where only sizes are asked for
    return made;
  }

  BlockGrid grid;
  Carver carver;
  int together;
  float *lse, *mass;
  char* scratch;
};

}  // namespace

const char* unsupported(const Tensors& in, const BlockOracleParams& params) {
  return params.block % 64 || in.shape.head_dim > 256 ? "blocks in multiples of 64" : nullptr;
}

std::size_t workspace_bytes(const Tensors& inputs, const BlockOracleParams& params) {
  return Layout(inputs, params, nullptr).carver.used();
}

void block_oracle_select(const Tensors& in, const BlockOracleParams& p, std::uint32_t* bits, void* workspace,
                         const Stream& stream) {
  const Layout layout(in, p, workspace);
  const BlockGrid& grid = layout.grid;
  for (int head = 0; head < grid.heads; head += layout.together) {
    const int heads = min(layout.together, grid.heads - head);
    const MassParams masses = layout.masses(in, p, head, heads);
    RowStatsParams rows{masses};
    rows.lse = layout.lse;
    row_stats(rows, stream);
    attention_mass(masses, layout.scratch, stream);
    select_kernel<<<blocks_for(static_cast<std::int64_t>(heads) * grid.tiles, 8), 256, 0, stream.handle()>>>(
        grid, head, heads, p.force_diagonal, p.knob, layout.mass, bits);
    check_launch("select_kernel");
  }
}

}  // namespace anchor::kernels
