#include "anchor/method/method.hpp"

namespace anchor {

Method dense_method() {
  return {.name = "dense",
          .title = "Dense causal attention",
          .plan_cpu = [](const AttentionInputs& inputs,
                         const PlanRequest&) { return dense_plan(inputs.geometry); },
          .plan_is_static = true};
}

}  // namespace anchor
