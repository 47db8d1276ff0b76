#include "anchor/rows/read_rows.hpp"

#include <fmt/format.h>

#include "anchor/base/error.hpp"
#include "anchor/base/text_file.hpp"

namespace anchor {

std::vector<ResultRow> read_rows(const std::string& path) {
  LineReader lines(path);
  std::vector<ResultRow> rows;
  while (const auto line = lines.next()) {
    if (line->text.empty()) continue;
    const std::string where = fmt::format("{}:{}", path, line->number);
    const std::optional<Json> row = parse_row(line->text);
    if (!row && !line->whole && !parse_json(line->text)) break;
    if (!row) fail("{}: not a result row (schema {})", where, result_schema);
    rows.push_back(row_from_json(*row, where));
  }
  if (rows.empty()) fail("{}: no result rows", path);
  return rows;
}

}  // namespace anchor
