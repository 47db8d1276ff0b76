#pragma once

#include <vector>

#include "anchor/rows/result_row.hpp"

namespace anchor::recall {

/// A table by layer of the rows' statistics.
void print_sparsity(const std::vector<ResultRow>& rows);

}  // namespace anchor::recall
