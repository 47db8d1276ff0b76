#pragma once

#include <span>

#include "anchor/rows/result_row.hpp"

namespace anchor {

/// What rows of kind eval say, for the page: the settings with their tables, depth maps and starved heads,
/// the pairs of settings of one point, and why questions have no result. Null without such rows.
Json eval_json(std::span<const ResultRow> rows);

}  // namespace anchor
