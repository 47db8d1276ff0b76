#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace anchor {

/// Which experts a mixture sends each row to (arXiv 2101.03961, with several experts a row).
struct Routing {
  struct Visit {
    std::int64_t row;
    float weight;  ///< of the expert's output in the row's sum
  };
  std::vector<std::vector<Visit>> of_expert;  ///< rows ascending
};

/// Softmax of the router's logits [rows, experts], the `used` largest of each row; their weights are divided
/// by their sum if `normalised`.
Routing route(std::int64_t rows, int experts, int used, bool normalised, std::span<const float> logits);

}  // namespace anchor
