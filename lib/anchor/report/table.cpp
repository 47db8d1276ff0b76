#include "anchor/report/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace anchor {
namespace {

std::string rounded(const Json* value, const Column& column) {
  if (value == nullptr || value->is_null()) return "-";
  if (column.decimals >= 0 && value->is_number())
    return fmt::format("{:.{}f}", column.scale * value->get<double>(), column.decimals);
  return value->is_string() ? value->get<std::string>() : json_text(*value);
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

const Json* find_field(const Json& row, const std::string& path) {
  if (!row.is_object()) return nullptr;
  if (const auto it = row.find(path); it != row.end()) return &*it;
  const auto dot = path.find('.');
  if (dot == std::string::npos) return nullptr;
  const auto it = row.find(path.substr(0, dot));
  return it == row.end() ? nullptr : find_field(*it, path.substr(dot + 1));
}

std::string field_text(const Json& row, const std::string& path) {
  const Json* value = find_field(row, path);
  return value != nullptr && value->is_string() ? value->get<std::string>() : "";
}

double field_number(const Json& row, const std::string& path) {
  const Json* value = find_field(row, path);
  return value == nullptr ? NAN : number_from_json(*value).value_or(NAN);
}

std::string markdown_table(std::span<const Json> rows, std::span<const Column> columns,
                           std::size_t max_width) {
  std::vector<std::vector<std::string>> cells;  // by column
  std::size_t total = 1;
  std::vector<std::size_t> widths;
  for (const Column& column : columns) {
    std::vector<std::string> texts;
    std::size_t width = column.heading().size();
    for (const Json& row : rows) {
      texts.push_back(rounded(find_field(row, column.path), column));
      width = std::max(width, texts.back().size());
    }
    if (max_width > 0 && !cells.empty() && total + width + 3 > max_width) break;
    total += width + 3;
    widths.push_back(width);
    cells.push_back(std::move(texts));
  }

  std::string text = "|";
  for (std::size_t c = 0; c < cells.size(); ++c)
    text += fmt::format(" {:>{}} |", columns[c].heading(), widths[c]);
  text += "\n|";
  for (const std::size_t width : widths) text += fmt::format("{:->{}}:|", "", width + 1);
  text += "\n";
  for (std::size_t r = 0; r < rows.size(); ++r) {
    text += "|";
    for (std::size_t c = 0; c < cells.size(); ++c) text += fmt::format(" {:>{}} |", cells[c][r], widths[c]);
    text += "\n";
  }
  return text;
}

std::string csv_header(std::span<const Column> columns) {
  std::vector<std::string> names;
  for (const Column& column : columns) names.push_back(csv_cell(column.path));
  return fmt::format("{}\n", fmt::join(names, ","));
}

std::string csv_line(const Json& row, std::span<const Column> columns) {
  std::vector<std::string> cells;
  for (const Column& column : columns) {
    const Json* value = find_field(row, column.path);
    const bool text = value != nullptr && value->is_string();
    cells.push_back(value == nullptr ? "" : csv_cell(text ? value->get<std::string>() : json_text(*value)));
  }
  return fmt::format("{}\n", fmt::join(cells, ","));
}

}  // namespace anchor
