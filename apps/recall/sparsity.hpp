#pragma once

#include <vector>

#include "anchor/engine/engine.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor::recall {

/// The field `sparsity` of each query head's row: statistics of the method's plan. Initial block and local
/// window are those of the method's parameters block and step, 128 rows where it has none.
std::vector<Json> sparsity_json(Engine& engine, const Inputs& inputs, const Method& method,
                                const PlanRequest& request);

/// A table by layer of the rows' statistics.
void print_sparsity(const std::vector<ResultRow>& rows);

}  // namespace anchor::recall
