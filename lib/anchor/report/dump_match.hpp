#pragma once

#include <span>
#include <string>
#include <vector>

#include "anchor/data/dump_reader.hpp"
#include "anchor/rows/result_row.hpp"

namespace anchor {

/// What a report that shows rows beside the heads of a dump has to warn of: rows of another model or text, or
/// that only some rows are of its shape. A data error that names both if no row is: lengths, numbers of heads
/// and head dimension. Rows of timings, and rows that do not say their shape, fit every dump.
std::vector<std::string> dump_mismatches(std::span<const ResultRow> rows, const DumpReader& dump);

}  // namespace anchor
