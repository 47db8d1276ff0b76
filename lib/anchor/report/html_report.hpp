#pragma once

#include <map>
#include <string>
#include <vector>

#include "anchor/report/head_views.hpp"

namespace anchor {

/// A report as one self-contained HTML page: layer x head heatmaps, heads, methods, timings, and where every
/// number comes from. No network, no foreign code; opens from disk under a content policy that allows only
/// the page's own script and style, by their hashes.
class HtmlReport {
 public:
  /// Takes a result row of any tool. Rows of the same unit count once: the last one.
  void row(ResultRow row);
  void views(HeadViews views) { views_.push_back(std::move(views)); }

  /// The page; `argv` is the command that made it.
  std::string render(const std::vector<std::string>& argv) const;

 private:
  std::vector<ResultRow> rows_;
  std::map<std::string, std::size_t> units_;  ///< unit -> index in rows_
  std::vector<HeadViews> views_;
};

}  // namespace anchor
