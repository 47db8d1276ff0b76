#include "anchor/model/dense_attention.hpp"

#include "anchor/attention/cpu_executor.hpp"

namespace anchor {

SparsePlan whole_plan(const Geometry& g) { return dense_plan(g, g.windowed() ? 128 : 512); }

AttentionResult dense_attention(const AttentionInputs& inputs) {
  return cpu_attention(inputs, whole_plan(inputs.geometry));
}

}  // namespace anchor
