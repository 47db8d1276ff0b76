#include <algorithm>
#include <cmath>

#include "anchor/engine/cuda/curve.hpp"
#include "anchor/engine/cuda/mass.hpp"
#include "anchor/engine/cuda/planners/anchor.hpp"

namespace anchor {
namespace {

/// Masses and critical thetas of some query heads of one KV head, on the device.
class AnchorHeads {
 public:
  AnchorHeads(const kernels::AnchorParams& layer, const CudaInputs& inputs, int first, int count,
              DeviceArena& arena)
      : anchor_(layer), inputs_(inputs), arena_(arena) {
    const Geometry& g = inputs.geometry();
    static_cast<kernels::Tensors&>(anchor_) = inputs.head_tensors(first, count);
    const auto rows = static_cast<std::size_t>(count * kernels::plan_groups(anchor_));
    anchor_.block_offsets = arena.take<std::int64_t>(rows + 1);
    anchor_.blocks = arena.take<std::int32_t>(static_cast<std::size_t>(kernels::block_count(anchor_)));
    anchor_.critical = arena.take<float>(rows * static_cast<std::size_t>(g.kv_len));
    mass_ = arena.take<float>(rows * static_cast<std::size_t>(g.kv_len));

    const DeviceArena::Scope scope(arena);
    const MassGranularity grain{.group_rows = std::int64_t{anchor_.block} * anchor_.step};
    auto* const lse = arena.take<float>(static_cast<std::size_t>(count * g.q_len));
    launch_mass(inputs, first, count, grain, lse, mass_, nullptr, nullptr);
    kernels::anchor_plan(anchor_, arena.take<char>(kernels::workspace_bytes(anchor_)), inputs.stream());
  }

  /// The curve of the n-th head.
  void use(int n, const UseCurve& use) const {
    const Geometry& g = inputs_.geometry();
    const DeviceArena::Scope scope(arena_);
    const kernels::AnchorItemCounts counts = kernels::anchor_item_counts(anchor_);
    const auto items = static_cast<std::size_t>(counts.offsets.back());
    const std::size_t offset_bytes = counts.offsets.size() * sizeof(std::int64_t);
    auto* const offsets = arena_.take<std::int64_t>(counts.offsets.size());
    kernels::upload(offsets, counts.offsets.data(), offset_bytes, inputs_.stream());

    const std::int64_t map = n * kernels::plan_groups(anchor_) * g.kv_len;
    kernels::AnchorItemsParams params{.anchor = anchor_,
                                      .critical = anchor_.critical + map,
                                      .column_mass = mass_ + map,
                                      .offsets = offsets,
                                      .knob = arena_.take<float>(items),
                                      .pairs = arena_.take<std::int32_t>(items),
                                      .mass = arena_.take<float>(items),
                                      .hole_mass = arena_.take<unsigned long long>(1)};
    params.anchor.shape.q_heads = 1;
    kernels::anchor_items(params, inputs_.stream());
    unsigned long long hole = 0;
    kernels::download(&hole, params.hole_mass, sizeof hole, inputs_.stream());
    const auto causal = static_cast<double>(g.causal_pairs()), rows = static_cast<double>(g.q_len);
    use(CudaCurve(
        {.count = counts.offsets.back(), .knob = params.knob, .pairs = params.pairs, .mass = params.mass},
        {.count = counts.offsets.back(),
         .forced_pairs = causal - static_cast<double>(counts.hole_pairs),
         .causal_pairs = causal,
         .forced_mass = rows - std::ldexp(static_cast<double>(hole), -kernels::mass_bits),
         .query_rows = rows},
        arena_, inputs_.stream()));
  }

 private:
  kernels::AnchorParams anchor_;
  const CudaInputs& inputs_;
  DeviceArena& arena_;
  float* mass_;
};

}  // namespace

bool anchor_curves(const Params& given, const CudaInputs& inputs, std::span<const int> heads,
                   DeviceArena& arena, const UseCurve& use) {
  const Geometry& g = inputs.geometry();
  std::optional<kernels::AnchorParams> anchor = anchor_params(given, inputs, 0, g.q_len);
  if (!anchor) return false;
  const kernels::DeviceInfo device = kernels::device_info(kernels::current_device());
  {
    const DeviceArena::Scope scope(arena);
    anchor->critical = arena.take<float>(1);  // what is asked for decides what is supported
    if (kernels::unsupported(*anchor, device) != nullptr) return false;
  }

  // As many heads of a KV head together as fit in an eighth of the memory: long launches fill the device
  // best.
  const auto map_bytes =
      static_cast<std::size_t>(kernels::plan_groups(*anchor) * g.kv_len) * 2 * sizeof(float);
  const auto together =
      std::max<std::size_t>(device.memory_bytes / 8 / std::max<std::size_t>(map_bytes, 1), 1);
  for (std::size_t begin = 0; begin < heads.size();) {
    std::size_t end = begin + 1;
    while (end < heads.size() && end - begin < together && heads[end] == heads[end - 1] + 1 &&
           g.kv_head(heads[end]) == g.kv_head(heads[begin])) {
      ++end;
    }
    const DeviceArena::Scope scope(arena);
    const auto count = static_cast<int>(end - begin);
    const AnchorHeads some(*anchor, inputs, heads[begin], count, arena);
    for (int n = 0; n < count; ++n) some.use(n, use);
    begin = end;
  }
  return true;
}

}  // namespace anchor
