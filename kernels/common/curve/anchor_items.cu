#include "anchor/kernels/curve.hpp"
#include "check.hpp"
#include "common/anchor/layout.hpp"

namespace anchor::kernels {
namespace {

constexpr int threads = 256, keys_per_block = 4096;

/// Entries of a group: [begin, end) of what is outside its blocks and may be selected.
struct Entries {
  std::int64_t begin, end;
  ANCHOR_HOST_DEVICE Entries(const AnchorGroups& groups, std::int64_t g) {
    begin = groups.hole_begin() > groups.block ? groups.hole_begin() : groups.block;
    const std::int64_t hole = groups.hole_end(g), candidates = groups.candidate_end(g);
    end = hole < candidates ? hole : candidates;
    if (end < begin) end = begin;
  }
};

ANCHOR_HOST_DEVICE std::int64_t rows_of(const AnchorGroups& groups, std::int64_t g) {
  const std::int64_t left = groups.q_end - groups.begin(g);
  return left < groups.rows ? left : groups.rows;
}

__global__ void items_kernel(AnchorItemsParams p, AnchorGroups groups, unsigned chunks) {
  const std::int64_t g = blockIdx.x / chunks, first = blockIdx.x % chunks * std::int64_t{keys_per_block};
  const Entries entries(groups, g);
  const std::int64_t hole_end = groups.hole_end(g);
  if (first >= hole_end) return;
  const auto rows = static_cast<std::int32_t>(rows_of(groups, g));
  unsigned long long hole = 0;
  for (std::int64_t key = first + threadIdx.x; key < min(first + keys_per_block, hole_end); key += threads) {
    if (key < groups.hole_begin()) continue;
    const std::int64_t at = g * p.anchor.shape.kv_len + key;
    const float mass = p.column_mass[at];
    hole += static_cast<unsigned long long>(
        __double2ll_rn(static_cast<double>(mass) * (std::int64_t{1} << mass_bits)));
    if (key < entries.begin || key >= entries.end) continue;
    const std::int64_t to = p.offsets[g] + key - entries.begin;
    p.knob[to] = p.critical[at];
    p.mass[to] = mass;
    p.pairs[to] = rows;
  }
  if (hole) atomicAdd(p.hole_mass, hole);  // integers: the order does not matter
}

}  // namespace

AnchorItemCounts anchor_item_counts(const AnchorParams& anchor) {
  const AnchorGroups groups(anchor);
  AnchorItemCounts counts{{0}, 0};
  for (std::int64_t g = 0; g < groups.count; ++g) {
    const Entries entries(groups, g);
    counts.offsets.push_back(counts.offsets.back() + entries.end - entries.begin);
    counts.hole_pairs += rows_of(groups, g) * (groups.hole_end(g) - groups.hole_begin());
  }
  return counts;
}

void anchor_items(const AnchorItemsParams& params, const Stream& stream) {
  const AnchorGroups groups(params.anchor);
  check(cudaMemsetAsync(params.hole_mass, 0, sizeof *params.hole_mass, stream.handle()), "cudaMemsetAsync");
  const std::int64_t chunks = (params.anchor.shape.kv_len + keys_per_block - 1) / keys_per_block;
  items_kernel<<<static_cast<unsigned>(groups.count * chunks), threads, 0, stream.handle()>>>(
      params, groups, static_cast<unsigned>(chunks));
  check_launch("items_kernel");
}

}  // namespace anchor::kernels
