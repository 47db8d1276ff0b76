#pragma once

#include <string>
#include <vector>

#include "anchor/rows/result_row.hpp"

namespace anchor {

/// The result rows of a jsonl file, in its order. A torn last line (a tool was killed) and empty lines are
/// left out. Data errors start with FILE or FILE:LINE: a file that cannot be read or has no rows, a line that
/// is not a result row, a field that is missing or wrong.
std::vector<ResultRow> read_rows(const std::string& path);

}  // namespace anchor
