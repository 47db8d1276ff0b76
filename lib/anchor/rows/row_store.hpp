#pragma once

#include <cstdio>
#include <map>
#include <memory>
#include <string>

#include "anchor/rows/result_row.hpp"

namespace anchor {

/// An append-only jsonl file of result rows: every row is on disk once append() returns, so that a killed run
/// loses at most the row it was writing.
class RowStore {
 public:
  /// Opens `path` for writing. Without `resume` an existing file is replaced. With it, a torn last line (a
  /// killed writer's) is cut off and the finished rows are kept; any other line that is not a result row is a
  /// data error.
  RowStore(const std::string& path, bool resume);

  /// The finished row of that unit from an earlier run, or nullptr. Rows with status "error" are not
  /// finished.
  const ResultRow* find(const std::string& unit) const;

  /// Writes one row (to_json() of it). A full disk is a data error.
  void append(const Json& row);

 private:
  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  std::map<std::string, ResultRow> finished_;
};

}  // namespace anchor
