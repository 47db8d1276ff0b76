#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "anchor/report/table.hpp"

namespace anchor {

/// Writes result rows in one format: jsonl and csv row by row, json, md and html when all are there.
class RowWriter {
 public:
  virtual ~RowWriter() = default;
  virtual void row(const Json& row) = 0;
  /// Ends the document; called once, also for the rows finished before an interrupt.
  virtual void finish() = 0;
};

/// Where a writer's text goes.
using TextSink = std::function<void(std::string_view)>;

/// `format` is md, csv, json, jsonl or html. The columns are those of md and csv; `max_width` is md's (0 = no
/// limit).
std::unique_ptr<RowWriter> make_row_writer(std::string_view format, TextSink sink,
                                           std::vector<Column> columns, std::size_t max_width = 0);

/// The format that a file's suffix stands for; a usage error that lists them otherwise.
std::string format_of_suffix(std::string_view path);

}  // namespace anchor
