#pragma once

#include <map>
#include <string>

#include "anchor/rows/result_row.hpp"

namespace anchor {

/// An append-only jsonl file of result rows: every row is in the file once append() returns, so that a killed
/// run loses at most the row it was writing. One process writes it at a time.
class RowStore {
 public:
  /// Opens `path` for writing, through links, and locks it: a second writer is a data error that changes
  /// nothing. Without `resume` the first row replaces what an existing file holds. With it, a torn last line
  /// (a killed writer's) is cut off and the finished rows are kept; any other line that is not a result row
  /// is a data error, and so is a last line that neither follows a row nor begins like one.
  RowStore(const std::string& path, bool resume);
  ~RowStore();
  RowStore(const RowStore&) = delete;
  RowStore& operator=(const RowStore&) = delete;

  /// The finished row of that unit from an earlier run, or nullptr. Rows with status "error" are not
  /// finished.
  const ResultRow* find(const std::string& unit) const;

  /// Writes one row (to_json() of it). A full disk is a data error.
  void append(const Json& row);

 private:
  void keep(std::int64_t bytes);

  std::string path_;
  int descriptor_ = -1;
  bool replaces_ = false;  ///< the next row is the first one, and an older file may be there
  std::map<std::string, ResultRow> finished_;
};

}  // namespace anchor
