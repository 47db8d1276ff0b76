#include "anchor/report/heatmap.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "anchor/report/color_map.hpp"

namespace anchor {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// Least of the values of heads [begin, end); NaN if none is known.
double least(const Heatmap& map, std::size_t layer, std::size_t begin, std::size_t end) {
  double value = nan;
  for (std::size_t head = begin; head < std::min(end, map.heads.size()); ++head) {
    const double x = map.at(layer, head);
    if (!std::isnan(x) && !(value <= x)) value = x;
  }
  return value;
}

/// ".973", or "1.00" for what rounds to one.
std::string short_number(double value) {
  const std::string text = fmt::format("{:.3f}", value);
  return text.starts_with("0.") ? text.substr(1) : fmt::format("{:.2f}", value);
}

std::string cell(const Heatmap& map, double value, TerminalColors colors, int width) {
  if (std::isnan(value)) return fmt::format("{:>{}}", "x", width);
  const double x = map.position(value);
  if (colors == TerminalColors::none) {
    const int digit = std::min(9, static_cast<int>(x * 10));
    return width >= 5 ? fmt::format("{:>{}}", short_number(value), width)
                      : fmt::format("{:>{}}", digit, width);
  }
  const std::string text =
      width >= 5 ? fmt::format("{:^{}}", short_number(value), width) : std::string(width, ' ');
  const Color back = color_map(x), front = text_color(back);
  if (colors == TerminalColors::rgb) {
    return fmt::format("\x1b[48;2;{};{};{}m\x1b[38;2;{};{};{}m{}", back.red, back.green, back.blue, front.red,
                       front.green, front.blue, text);
  }
  return fmt::format("\x1b[48;5;{}m\x1b[38;5;{}m{}", xterm_index(back), xterm_index(front), text);
}

std::string legend(const Heatmap& map, TerminalColors colors) {
  if (colors == TerminalColors::none) return fmt::format("{:.2f} = 0 … 9 = {:.2f}", map.low, map.high);
  std::string bar;
  for (int n = 0; n < 24; ++n) {
    const Color color = color_map(n / 23.0);
    bar += colors == TerminalColors::rgb
               ? fmt::format("\x1b[48;2;{};{};{}m ", color.red, color.green, color.blue)
               : fmt::format("\x1b[48;5;{}m ", xterm_index(color));
  }
  return fmt::format("{:.2f} {}\x1b[0m {:.2f}", map.low, bar, map.high);
}

}  // namespace

void Heatmap::set_values(const std::map<std::pair<int, int>, double>& by_head) {
  std::set<int> layer_set, head_set;
  for (const auto& [where, value] : by_head) {
    layer_set.insert(where.first);
    head_set.insert(where.second);
  }
  layers.assign(layer_set.begin(), layer_set.end());
  heads.assign(head_set.begin(), head_set.end());
  values.clear();
  for (const int layer : layers) {
    for (const int head : heads) {
      const auto found = by_head.find({layer, head});
      values.push_back(found == by_head.end() ? nan : found->second);
    }
  }
}

void Heatmap::scale_to_share() {
  high = 1;
  low = 0.95;
  for (const double value : values) {
    if (!std::isnan(value)) low = std::min(low, std::floor(value * 20) / 20);
  }
  low = std::max(low, 0.0);
}

void Heatmap::scale_to_values() {
  low = high = 0;
  for (const double value : values) {
    if (!std::isnan(value)) high = std::max(high, value);
  }
}

double Heatmap::position(double value) const {
  return high > low ? std::clamp((value - low) / (high - low), 0.0, 1.0) : 1;
}

std::string terminal_heatmap(const Heatmap& map, TerminalColors colors, int width) {
  const int label = 6;  // "layer "
  const auto heads = static_cast<int>(map.heads.size());
  const int room = std::max(1, width - label);
  const int cell_width = std::clamp(room / heads, 1, 6);
  const int shared = (heads * cell_width + room - 1) / room;  // heads per cell
  const int cells = (heads + shared - 1) / shared;
  const char* reset = colors == TerminalColors::none ? "" : "\x1b[0m";

  std::string text = map.title + "\n";
  const int every = std::max(1, (4 + cell_width - 1) / cell_width);  // label every so many cells
  text += fmt::format("{:>{}}", "head ", label);
  for (int n = 0; n < cells; n += every) {
    const int space = std::min(every, cells - n) * cell_width;
    const std::string number = std::to_string(map.heads[static_cast<std::size_t>(n * shared)]);
    if (static_cast<int>(number.size()) > space) break;
    text += cell_width >= 5 ? fmt::format("{:^{}}", number, space) : fmt::format("{:<{}}", number, space);
  }
  text += "\n";
  for (std::size_t layer = 0; layer < map.layers.size(); ++layer) {
    text += fmt::format("{:>{}} ", map.layers[layer], label - 1);
    for (int n = 0; n < cells; ++n) {
      const auto begin = static_cast<std::size_t>(n * shared);
      text +=
          cell(map, least(map, layer, begin, begin + static_cast<std::size_t>(shared)), colors, cell_width);
    }
    text += fmt::format("{}\n", reset);
  }
  const bool numbers = colors == TerminalColors::none && cell_width >= 5;  // they need no legend
  if (!numbers) text += fmt::format("{:>{}}{}", "", label, legend(map, colors));
  if (shared > 1) text += fmt::format("   ({} heads a cell: the least)", shared);
  return numbers ? text : text + "\n";
}

}  // namespace anchor
