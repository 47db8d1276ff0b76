#include "anchor/tuning/scoped_allocation.hpp"

#include <algorithm>

namespace anchor {

std::string_view name_of(AllocationScope scope) {
  return scope == AllocationScope::layer ? "layer" : "model";
}

AllocatedHeads allocate_heads(std::span<const ChosenHead> heads, std::span<const Curve> fronts,
                              const AllocationGoal& goal) {
  AllocatedHeads made;
  const bool by_layer = goal.scope == AllocationScope::layer;
  for (std::size_t begin = 0; begin < heads.size();) {
    std::size_t end = by_layer ? begin : heads.size();
    while (end < heads.size() && heads[end].layer == heads[begin].layer) ++end;
    const auto own = fronts.subspan(begin, end - begin);
    AllocatedScope scope{.layer = {},
                         .allocation = goal.density ? allocate_for_density(own, *goal.density)
                                                    : allocate_for_recall(own, goal.mass_recall),
                         .heads = end - begin};
    if (by_layer) scope.layer = heads[begin].layer;
    for (std::size_t h = begin; h < end; ++h) {
      const CurvePoint point = fronts[h].point(scope.allocation.point[h - begin]);
      made.heads.push_back({.layer = heads[h].layer, .head = heads[h].head, .at = HeadAt::of(point)});
      scope.worst_recall = std::min(scope.worst_recall, point.mass_recall);
    }
    made.scopes.push_back(std::move(scope));
    begin = end;
  }
  return made;
}

}  // namespace anchor
