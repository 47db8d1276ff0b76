#include "anchor/replay/group_at_work.hpp"

namespace anchor {

GroupAtWork::GroupAtWork(Engine& its_engine, const Inputs& its_inputs, const GroupSelection& selection)
    : engine(its_engine),
      inputs(its_inputs),
      layer(selection.layer),
      heads(selection.heads),
      locals(selection.locals()) {}

DenseReference& GroupAtWork::dense() {
  if (!dense_) dense_ = engine.dense_reference(inputs);
  return *dense_;
}

}  // namespace anchor
