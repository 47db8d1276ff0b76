#include "anchor/report/text_table.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace anchor {
namespace {

/// The first `count` characters.
std::string cut(const std::string& text, std::size_t count) {
  if (characters(text) <= count) return text;
  std::size_t end = 0;
  for (std::size_t seen = 0; seen + 1 < count; ++seen) do
      ++end;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80);
  return text.substr(0, end) + "…";
}

std::string padded(const std::string& text, std::size_t width, bool left) {
  const std::string space(width - std::min(width, characters(text)), ' ');
  return left ? text + space : space + text;
}

std::vector<std::size_t> widths_of(const TextTable& table) {
  std::vector<std::size_t> widths;
  for (const std::string& heading : table.headings) widths.push_back(characters(heading));
  for (const auto& row : table.rows)
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], characters(row[c]));
  return widths;
}

}  // namespace

std::size_t characters(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string TextTable::plain(std::size_t width) const {
  std::vector<std::size_t> widths = widths_of(*this);
  std::size_t rest = 0;  // what the columns take, a space apart
  for (std::size_t c = 1; c < widths.size(); ++c) rest += 1 + widths[c];
  // Columns move together, then names give way, before the table breaks into blocks.
  const std::size_t least_name = std::min(widths[0], width / 5);
  const bool one_block = rest + least_name <= width;
  const std::size_t gap = widths[0] + rest + widths.size() - 1 <= width || !one_block ? 2 : 1;
  if (one_block && gap == 1) widths[0] = std::min(widths[0], width - rest);
  if (!one_block) widths[0] = std::min(widths[0], width / 2);
  std::string text;
  for (std::size_t begin = 1; begin < widths.size() || begin == 1;) {
    std::size_t end = begin, used = widths[0];
    while (end < widths.size() && (end == begin || used + gap + widths[end] <= width))
      used += gap + widths[end++];
    const auto line = [&](const std::vector<std::string>& cells) {
      std::string made = padded(cut(cells[0], widths[0]), widths[0], true);
      for (std::size_t c = begin; c < end; ++c)
        made.append(gap, ' ').append(padded(cells[c], widths[c], false));
      made.erase(made.find_last_not_of(' ') + 1);
      return made + "\n";
    };
    if (begin > 1) text += "\n";
    text += line(headings);
    for (const auto& row : rows) text += line(row);
    begin = std::max(end, begin + 1);
  }
  return text;
}

std::string TextTable::markdown() const {
  const std::vector<std::size_t> widths = widths_of(*this);
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string made = "|";
    for (std::size_t c = 0; c < cells.size(); ++c)
      made.append(" ").append(padded(cells[c], widths[c], c == 0)).append(" |");
    return made + "\n";
  };
  std::string text = line(headings) + "|";
  for (std::size_t c = 0; c < widths.size(); ++c)
    text.append(c == 0 ? ":" : "-").append(widths[c], '-').append(c == 0 ? "-|" : ":|");
  text += "\n";
  for (const auto& row : rows) text += line(row);
  return text;
}

}  // namespace anchor
