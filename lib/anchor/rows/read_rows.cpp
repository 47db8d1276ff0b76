#include "anchor/rows/read_rows.hpp"

#include <fmt/format.h>

#include <fstream>

#include "anchor/base/error.hpp"

namespace anchor {

std::vector<ResultRow> read_rows(const std::string& path) {
  std::ifstream file(path);
  if (!file) fail("{}: cannot read", path);
  std::vector<ResultRow> rows;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.empty()) continue;
    const std::string where = fmt::format("{}:{}", path, number);
    const std::optional<Json> row = parse_row(line);
    if (!row && file.eof() && !Json::accept(line)) break;
    if (!row) fail("{}: not a result row (schema anchor-result/1)", where);
    rows.push_back(row_from_json(*row, where));
  }
  if (rows.empty()) fail("{}: no result rows", path);
  return rows;
}

}  // namespace anchor
