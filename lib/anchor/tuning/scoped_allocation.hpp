#pragma once

#include <optional>
#include <string_view>

#include "anchor/tuning/allocation.hpp"
#include "anchor/tuning/chosen_head.hpp"

namespace anchor {

/// Which heads an allocation takes together: the heads of each layer, or all of them.
enum class AllocationScope : std::uint8_t { layer, model };
std::string_view name_of(AllocationScope scope);  ///< "layer", "model"

/// What the mean over a scope's heads has to be.
struct AllocationGoal {
  AllocationScope scope = AllocationScope::model;
  double mass_recall = 0.95;      ///< at the least density
  std::optional<double> density;  ///< if given: the largest recall within this density instead
};

/// The allocation of one scope.
struct AllocatedScope {
  std::optional<int> layer;  ///< empty: all heads
  Allocation allocation;
  std::size_t heads = 0;
  double worst_recall = 1;  ///< of a head
};

struct AllocatedHeads {
  std::vector<AllocatedScope> scopes;
  std::vector<ChosenHead> heads;  ///< in the given order, with the knobs that were allocated
};

/// Gives every head a point of its front. `heads` are ordered by layer; `fronts` are theirs (convex_front()).
AllocatedHeads allocate_heads(std::span<const ChosenHead> heads, std::span<const Curve> fronts,
                              const AllocationGoal& goal);

}  // namespace anchor
