#pragma once

#include <span>
#include <string>
#include <vector>

#include "anchor/rows/result_row.hpp"

namespace anchor {

/// One column of a table: a field of the result rows under its own name, `a.b` for a nested one.
struct Column {
  std::string path;
  int decimals = -1;  ///< of numbers in a table for eyes; -1 = as they are
  std::string title;  ///< empty: the path
  double scale = 1;   ///< of numbers, where a table is for eyes: 1e-6 shows nanoseconds as milliseconds
  const std::string& heading() const { return title.empty() ? path : title; }
};

/// The field of that path, or nullptr. A name that itself holds a dot (output_recall_0.01) is found first.
const Json* find_field(const Json& row, const std::string& path);
std::string field_text(const Json& row, const std::string& path);  ///< empty unless it is a string
double field_number(const Json& row, const std::string& path);     ///< NaN unless it is a number

/// A Markdown table whose columns are padded, so that it reads as well in a terminal. With `max_width` > 0
/// the last columns are left out until it fits; numbers stand right-aligned.
std::string markdown_table(std::span<const Json> rows, std::span<const Column> columns,
                           std::size_t max_width = 0);

/// RFC 4180 lines; numbers in full precision, absent fields empty.
std::string csv_header(std::span<const Column> columns);
std::string csv_line(const Json& row, std::span<const Column> columns);

}  // namespace anchor
