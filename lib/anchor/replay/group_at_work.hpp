#pragma once

#include <memory>
#include <vector>

#include "anchor/engine/dense_reference.hpp"
#include "anchor/engine/engine.hpp"
#include "anchor/replay/head_selection.hpp"

namespace anchor {

/// The selected heads of a KV group on the engine that computes them; dense attention of the group is made
/// when it is first needed, and then serves everything that is done with the group.
class GroupAtWork {
 public:
  GroupAtWork(Engine& engine, const Inputs& inputs, const GroupSelection& selection);
  DenseReference& dense();

  Engine& engine;
  const Inputs& inputs;
  int layer;
  std::vector<int> heads, locals;  ///< in the model, and in the group

 private:
  std::unique_ptr<DenseReference> dense_;
};

}  // namespace anchor
